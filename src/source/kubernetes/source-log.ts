// The one call this source needs from a logger.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Shaped so that `(level, fields, message) => pino[level](fields, message)` fits. */
export type SourceLog = (level: LogLevel, fields: Record<string, unknown>, message: string) => void;
