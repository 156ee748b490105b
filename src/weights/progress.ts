/** What happens during a pull, and how it reads. Pure. */

export type PullEvent =
  /** Another pull of the same weights is under way, here or in another process. */
  | { readonly event: 'pull-waiting' }
  | {
      readonly event: 'bytes-received'
      readonly source: string
      readonly receivedBytes: number
      readonly totalBytes: number | undefined
    }
  | { readonly event: 'source-skipped'; readonly source: string; readonly reason: string }
  | { readonly event: 'conversion-started'; readonly source: string }
  | { readonly event: 'verification-started' }
  | { readonly event: 'pull-done'; readonly source: string }

/** Where a pull is, 0..1 (`undefined` while unknown), and a few words for people. */
export function describePull(event: PullEvent): {
  readonly fraction: number | undefined
  readonly detail: string
} {
  switch (event.event) {
    case 'pull-waiting':
      return { fraction: undefined, detail: 'waiting for another pull of the same weights' }
    case 'bytes-received':
      return {
        fraction: fractionOf(event.receivedBytes, event.totalBytes),
        detail: `${megabytes(event.receivedBytes, event.totalBytes)} from ${event.source}`,
      }
    case 'source-skipped':
      return { fraction: undefined, detail: `passed over ${event.source}: ${event.reason}` }
    case 'conversion-started':
      return { fraction: 1, detail: 'converting to GGUF' }
    case 'verification-started':
      return { fraction: 1, detail: 'checking the checksum' }
    case 'pull-done':
      return { fraction: 1, detail: `from ${event.source}` }
  }
}

function fractionOf(receivedBytes: number, totalBytes: number | undefined): number | undefined {
  return totalBytes === undefined ? undefined : Math.min(1, receivedBytes / Math.max(1, totalBytes))
}

function megabytes(receivedBytes: number, totalBytes: number | undefined): string {
  const received = toMegabytes(receivedBytes)
  return totalBytes === undefined
    ? `${received} MB`
    : `${received} of ${toMegabytes(totalBytes)} MB`
}

function toMegabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)
}

/** Bytes between two reports: at most 200 reports for a file whose size is known. */
export function reportStepBytes(totalBytes: number | undefined): number {
  return Math.max(256 * 1024, (totalBytes ?? 200 * 1024 * 1024) / 200)
}
