/** Labels of a function whose count of replicas does not follow its load, because something else is measured. */
export const fixedReplicas = (count: number): { readonly labels: Readonly<Record<string, string>> } => ({
  labels: { "com.openfaas.scale.min": String(count), "com.openfaas.scale.max": String(count) },
});
