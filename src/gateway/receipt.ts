/** Receipts for clients that ask for one with the header `x-receipt: true`: what they are charged, signed (billing/receipt.ts). */
import type { Exchange } from './exchange.ts'

/** Asks for a receipt in a request, and has it in the answer. */
export const receiptHeader = 'x-receipt'

export function wantsReceipt(exchange: Pick<Exchange, 'headers'>): boolean {
  return exchange.headers[receiptHeader] === 'true'
}
