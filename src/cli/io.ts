// What the command line needs from its process, so that tests need none.

/** A synchronous text stream. */
export interface TextStream {
  write(text: string): unknown;
}

export interface Io {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  /** True when stderr, where the log goes, is a terminal. */
  readonly isTty: boolean;
}
