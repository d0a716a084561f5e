/**
 * Environment of services that pass large bodies on, read by glibc when they start (mallopt(3)). Left alone, glibc gives
 * the memory of each 64 KiB read back to the kernel and has it zeroed again for the next: half of the gateway's time when
 * one large body goes through it (3.0 against 1.5 ms of CPU per MB; with less than 64 MiB the gain comes and goes). Other C
 * libraries ignore it.
 */
export const allocatorSettings = {
  MALLOC_MMAP_THRESHOLD_: String(1024 * 1024),
  MALLOC_TRIM_THRESHOLD_: String(64 * 1024 * 1024),
} as const;
