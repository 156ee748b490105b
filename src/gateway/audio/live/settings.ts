/** What a live session is set to. Changed by `session.update`, field by field. */

export type LiveFormat = 'pcm16' | 'g711_ulaw' | 'g711_alaw'

export interface TurnDetection {
  /** 0 to 1: how loud speech must be. */
  readonly threshold: number
  /** Kept from before the speech began. */
  readonly prefixPaddingMs: number
  /** So long a silence ends a segment. */
  readonly silenceMs: number
}

export interface LiveSettings {
  readonly format: LiveFormat
  readonly model: string | undefined
  readonly language: string | undefined
  readonly prompt: string | undefined
  /** `undefined`: the client says where a segment ends. */
  readonly turnDetection: TurnDetection | undefined
}

export const turnDetectionDefault: TurnDetection = {
  threshold: 0.5,
  prefixPaddingMs: 300,
  silenceMs: 500,
}

export const samplesPerSecondOf: Readonly<Record<LiveFormat, number>> = {
  pcm16: 24_000,
  g711_ulaw: 8_000,
  g711_alaw: 8_000,
}
