// Telling the operating system's refusals from our own bugs.

/** True for an error of a system call (`code` is an errno name such as ENOENT) or of a limit of Node (ERR_FS_FILE_TOO_LARGE). */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { code: string } {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string';
}
