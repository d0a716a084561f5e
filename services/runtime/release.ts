/** The release of this build, as `/system/info` shows it. */
export const release = "0.1.0";
