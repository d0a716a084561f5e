const units: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

// A quantity of Kubernetes (apimachinery, api/resource): sign, digits, and a unit or a decimal exponent.
const pattern = /^\+?(\d+\.?\d*|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?$/;

/** The number that a quantity in the notation of Kubernetes stands for; undefined when it is none or below zero. */
export const parseQuantity = (text: string): number | undefined => {
  const [, digits, unit = "", exponent = "0"] = pattern.exec(text) ?? [];
  const factor = units[unit];
  return digits === undefined || factor === undefined ? undefined : Number(digits) * factor * 10 ** Number(exponent);
};

/** Bytes of a memory quantity (`128Mi`, `1G`, `67108864`), rounded up; undefined when it is none or not above zero. */
export const parseMemoryBytes = (text: string): number | undefined => {
  const bytes = Math.ceil(parseQuantity(text) ?? 0);
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
};

/** Thousandths of a core of a CPU quantity (`100m`, `0.5`, `2`), rounded up; undefined when it is none or not above zero. */
export const parseCpuMillicores = (text: string): number | undefined => {
  // Rounded first: 0.29 cores are 290.00000000000006 thousandths in binary.
  const millicores = Math.ceil(Number(((parseQuantity(text) ?? 0) * 1000).toFixed(6)));
  return millicores > 0 && Number.isSafeInteger(millicores) ? millicores : undefined;
};
