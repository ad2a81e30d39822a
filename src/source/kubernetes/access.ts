// How to reach an API server and as whom: the part of a kubeconfig that is in force, whatever it was read from.
// Files are named, not read: they rotate.

export interface ClusterAccess {
  readonly server: URL;
  /** Trusted CA certificates, PEM; without either form the system's are trusted. */
  readonly ca: PemSource | undefined;
  /** The name the server's certificate must carry, when it is not the host of `server`. */
  readonly tlsServerName: string | undefined;
  readonly isVerified: boolean;
  readonly proxyUrl: string | undefined;
  readonly isCompressed: boolean;
}

export interface UserAccess {
  readonly cert: PemSource | undefined;
  readonly key: PemSource | undefined;
  readonly token: string | undefined;
  /** Takes precedence over `token`. */
  readonly tokenFile: string | undefined;
  readonly basic: { readonly username: string; readonly password: string } | undefined;
  readonly exec: ExecSpec | undefined;
  /** Settings of the `oidc` auth-provider. */
  readonly oidc: Readonly<Record<string, string>> | undefined;
  /** Impersonate-* headers. */
  readonly impersonation: Readonly<Record<string, string | readonly string[]>>;
}

/** PEM text given in place, or the file that holds it; `field` names it in errors. */
export type PemSource =
  | { readonly field: string; readonly pem: string }
  | { readonly field: string; readonly file: string };

/** An exec credential plugin (client.authentication.k8s.io). */
export interface ExecSpec {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint: string | undefined;
  readonly isClusterInfoProvided: boolean;
}

export interface Access {
  /** What the settings were read from, for errors: a file name, `in-cluster configuration`. */
  readonly origin: string;
  readonly cluster: ClusterAccess;
  readonly user: UserAccess;
}

export const ANONYMOUS: UserAccess = {
  cert: undefined,
  key: undefined,
  token: undefined,
  tokenFile: undefined,
  basic: undefined,
  exec: undefined,
  oidc: undefined,
  impersonation: {},
};
