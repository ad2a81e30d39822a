// The error classes of the whole program. Callers match on `code` or `errno`, never on message text.

/** Base of every error this program raises on purpose. */
export class KproxyError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A flag, file or environment value that cannot be used. The process exits with status 2. */
export class ConfigError extends KproxyError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('CONFIG', message, options);
  }
}

/** Bytes that are not what the protocol says they must be; `offset` is the byte where reading failed. */
export class DecodeError extends KproxyError {
  readonly what: string;
  readonly offset: number;

  constructor(what: string, offset: number, reason: string) {
    super('DECODE', `${what}: ${reason} at byte ${offset}`);
    this.what = what;
    this.offset = offset;
  }
}

/** The API server could not be used; `status` is the HTTP status where there was one. */
export class KubeError extends KproxyError {
  readonly status: number | undefined;

  constructor(message: string, status?: number, options?: { cause?: unknown }) {
    super('KUBE', message, options);
    this.status = status;
  }
}

/** A system call or a netlink request that the kernel refused; `code` is the errno name, such as `EPERM`. */
export class KernelError extends KproxyError {
  /** Positive errno (asm-generic/errno.h), 0 when the failure is not an errno. */
  readonly errno: number;
  /** What was asked, in words a human knows: `add element 10.96.0.10 . udp . 53`, `socket(NETLINK_NETFILTER)`. */
  readonly operation: string;
  /** The kernel's own words (NLMSGERR_ATTR_MSG), when it gave any. */
  readonly extAck: string | undefined;

  constructor(
    code: string,
    errno: number,
    operation: string,
    extAck?: string,
    options?: { cause?: unknown },
  ) {
    super(code, `${operation}: ${code}${extAck === undefined ? '' : ` (${extAck})`}`, options);
    this.errno = errno;
    this.operation = operation;
    this.extAck = extAck;
  }
}

/** Another kproxy-ts serves this network namespace. The process exits with status 3. */
export class AlreadyRunningError extends KproxyError {
  constructor(message: string) {
    super('ALREADY_RUNNING', message);
  }
}

/** A state that only a bug can produce. */
export class InternalError extends KproxyError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('INTERNAL', message, options);
  }
}
