/** Whether one word of a command starts an OpenFaaS watchdog: by itself, or as what a shell is told to run. */
const startsWatchdog = (word: string): boolean => /^(?:exec\s+)?(?:\S*\/)?fwatchdog(?:\s|$)/.test(word.trim());

/** Whether an image's command is an OpenFaaS watchdog (classic or of-watchdog), perhaps behind an init or a shell. */
export const isOpenFaasWatchdog = (command: readonly string[]): boolean => command.some(startsWatchdog);
