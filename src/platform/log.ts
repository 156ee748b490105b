import { pino, type Logger } from 'pino'
import { createLogSink } from './log-sink.ts'

export type { Logger }

/** One for the process, as the descriptor is: lines of two writers never mix. */
const standardError = createLogSink(2)
process.once('exit', standardError.flushSync)

/**
 * JSON lines on standard error. Callers log ids, codes, counts and durations; no request or response body is ever passed here.
 * The redaction is a second line of defence for headers and secrets that slip into an object.
 */
export function createLogger(role: string, level: string): Logger {
  return pino(
    {
      level,
      base: { role, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'authorization',
          '*.authorization',
          'headers',
          '*.headers',
          'body',
          '*.body',
          'messages',
          '*.messages',
          'prompt',
          '*.prompt',
          'input',
          '*.input',
          'secret',
          '*.secret',
          'token',
          '*.token',
          'apiKey',
          '*.apiKey',
        ],
        censor: '[redacted]',
      },
      serializers: {
        // Messages of foreign errors can quote input (JSON.parse does); only our own faults' texts are known to be safe.
        error: (error: unknown) =>
          error instanceof Error
            ? {
                name: error.name,
                message: error.name === 'SyntaxError' ? '[withheld]' : error.message,
                stack: error.stack?.split('\n').slice(1, 6).join('\n'),
              }
            : { name: typeof error },
      },
    },
    standardError,
  )
}
