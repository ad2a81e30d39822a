// Probabilities of `-m statistic`: the kernel has them in units of 2^-31, kube-proxy and iptables write decimals.

const UNIT = 2 ** 31;
/** kube-proxy writes so many decimals, iptables reads them. */
const KUBE_PROXY_DECIMALS = 10;
/** iptables prints so many. */
const IPTABLES_DECIMALS = 11;

/** 1/n as kube-proxy writes it and iptables then understands it: 3 gives 715827883, printed as 0.33333333349. */
export function probabilityOfOneIn(n: number): number {
  return Math.round(Number((1 / n).toFixed(KUBE_PROXY_DECIMALS)) * UNIT);
}

/** As printf's `%.11f`, which takes the even one of two equally near numbers where toFixed takes the greater. */
export function formatProbability(probability: number): string {
  const text = (probability / UNIT).toFixed(IPTABLES_DECIMALS);
  // p / 2^31 · 10^11 = p · 5^11 / 2^20 lies half-way between two integers for these p.
  const isTie = probability % 2 ** 20 === 2 ** 19;
  const last = Number(text.at(-1));
  return isTie && last % 2 === 1 ? `${text.slice(0, -1)}${last - 1}` : text;
}

/** As iptables reads what it prints; undefined for what is none. */
export function parseProbability(text: string): number | undefined {
  const probability = /^\d(?:\.\d+)?$/.test(text) ? Math.round(Number(text) * UNIT) : Number.NaN;
  return probability <= UNIT ? probability : undefined;
}
