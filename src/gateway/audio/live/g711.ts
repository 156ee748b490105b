/** Telephone sound to 16-bit samples (ITU-T G.711). Pure. */

/** What each of the 256 codes stands for. */
function tableOf(decode: (code: number) => number): Int16Array {
  return Int16Array.from({ length: 256 }, (_, code) => decode(code))
}

const muLaw = tableOf((code) => {
  const bits = ~code & 0xff
  const magnitude = ((((bits & 15) << 3) + 132) << ((bits >> 4) & 7)) - 132
  return bits & 0x80 ? -magnitude : magnitude
})

const aLaw = tableOf((code) => {
  const bits = code ^ 0x55
  const exponent = (bits >> 4) & 7
  const step = ((bits & 15) << 4) + 8
  const magnitude = exponent === 0 ? step : (step + 256) << (exponent - 1)
  return bits & 0x80 ? magnitude : -magnitude
})

export function decodeG711(law: 'g711_ulaw' | 'g711_alaw', codes: Buffer): Buffer {
  const table = law === 'g711_ulaw' ? muLaw : aLaw
  const samples = Buffer.alloc(codes.length * 2)
  for (const [index, code] of codes.entries()) samples.writeInt16LE(table[code] ?? 0, index * 2)
  return samples
}
