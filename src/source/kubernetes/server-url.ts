// The address of an API server, as people write it (client-go rest/url_utils.go, DefaultServerURL).

import { ConfigError } from '../../errors.ts';

/**
 * The base URL a `--master` or `server` value stands for. Without a scheme it is https when TLS is configured.
 * @throws ConfigError
 */
export function parseServer(value: string, what: string, defaultScheme: 'http' | 'https' = 'http'): URL {
  const text = /^[a-z]+:\/\//i.test(value) ? value : `${defaultScheme}://${value}`;
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) {
    throw new ConfigError(`${what}: must be an http or https URL, got ${JSON.stringify(value)}`);
  }
  return new URL(text);
}
