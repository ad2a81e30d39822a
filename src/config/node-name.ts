/** The name of the Node of a host of this name: kubelet's rule. */
export function nodeNameOf(hostname: string): string {
  return hostname.trim().toLowerCase();
}
