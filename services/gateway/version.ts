/** The release of this build, as `/system/info` shows it. */
export const release = "0.1.0";

/** The header `X-Served-By` of every answer. */
export const servedBy = `busker/${release}`;
