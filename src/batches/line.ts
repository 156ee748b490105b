/**
 * A line of a batch's input file, and of its output files (JSON Lines). Errors name a line and a field and never quote what stands there. Pure.
 * The shapes are those of OpenAI's batch guide: https://platform.openai.com/docs/guides/batch
 */
import type { BatchEnd, BatchError } from './batch.ts'

export const lineBytesMax = 25 * 1024 * 1024
export const customIdLengthMax = 512

export interface InputLine {
  readonly customId: string
  readonly body: Readonly<Record<string, unknown>>
}

type LineFlaw = Omit<BatchError, 'line'>

/** `parse` bounds the JSON, and throws what is no fault of ours. */
export function parseInputLine(
  bytes: Buffer,
  endpoint: string,
  parse: (bytes: Buffer) => unknown,
): { readonly line: InputLine } | { readonly flaw: LineFlaw } {
  const value = parseOr(bytes, parse)
  if (!isRecord(value)) return flaw('invalid_json_line', 'This line is not a valid JSON object.')
  const { custom_id: customId, method, url, body } = value
  if (customId === undefined || customId === null)
    return flaw(
      'missing_required_parameter',
      "Missing required parameter: 'custom_id'.",
      'custom_id',
    )
  if (typeof customId !== 'string' || customId === '' || customId.length > customIdLengthMax)
    return flaw(
      'invalid_custom_id',
      `The custom_id must be a string of 1 to ${customIdLengthMax} characters.`,
      'custom_id',
    )
  if (method !== 'POST') return flaw('invalid_method', "The method must be 'POST'.", 'method')
  if (url !== endpoint)
    return flaw('mismatched_url', `The url must be the batch's endpoint, ${endpoint}.`, 'url')
  if (!isRecord(body)) return flaw('invalid_body', 'The body must be a JSON object.', 'body')
  if (body['stream'] === true)
    return flaw('unsupported_value', 'A batch has no streams. Leave stream out.', 'body.stream')
  return { line: { customId, body } }
}

function parseOr(bytes: Buffer, parse: (bytes: Buffer) => unknown): unknown {
  try {
    return parse(bytes)
  } catch {
    // Not JSON within the bounds: the caller's flaw says so.
    return undefined
  }
}

function flaw(code: string, message: string, param: string | null = null): { flaw: LineFlaw } {
  return { flaw: { code, message, param } }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export interface OutputLine {
  readonly batchId: string
  readonly line: number
  readonly customId: string
  readonly response:
    | { readonly statusCode: number; readonly requestId: string; readonly body: unknown }
    | undefined
  readonly error: { readonly code: string; readonly message: string } | undefined
}

export function renderOutputLine({ batchId, line, customId, response, error }: OutputLine): string {
  const written = {
    id: `${batchId.replace('batch_', 'batch_req_')}_${line}`,
    custom_id: customId,
    response: response
      ? { status_code: response.statusCode, request_id: response.requestId, body: response.body }
      : null,
    error: error ?? null,
  }
  return `${JSON.stringify(written)}\n`
}

/** Why a line never ran, by how its batch ended. */
export const unrunErrors: Readonly<
  Record<BatchEnd, { readonly code: string; readonly message: string }>
> = {
  completed: { code: 'batch_failed', message: 'This request was not executed.' },
  failed: {
    code: 'batch_failed',
    message: 'This request was not executed, because the batch failed before.',
  },
  expired: {
    code: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  },
  cancelled: {
    code: 'batch_cancelled',
    message: 'This request was not executed, because the batch was cancelled.',
  },
}
