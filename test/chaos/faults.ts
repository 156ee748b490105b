/** The one list of faults that are automated. */
import type { Fault } from './fault.ts'
import { killGateway } from './faults/f01-kill-gateway.ts'
import {
  killAfterSettlement,
  killBeforeSettlement,
} from './faults/f02-f03-kill-around-settlement.ts'
import { killInLedgerTransaction } from './faults/f04-kill-in-ledger-transaction.ts'
import { tornWrite } from './faults/f05-torn-write.ts'
import { bitRot } from './faults/f06-bit-rot.ts'
import { writeFails, writeStalls } from './faults/f07-f08-journal-disk.ts'
import { journalFull } from './faults/f09-journal-full.ts'
import { logVolumeFull } from './faults/f10-log-volume-full.ts'
import { databaseHangs, databaseStopped } from './faults/f11-f12-database-away.ts'
import { connectionsCut } from './faults/f13-connections-cut.ts'
import { reservationStorm } from './faults/f14-reservation-storm.ts'
import { noCache } from './faults/f15-no-cache.ts'
import { leavesBehindEnd, leavesMidStream } from './faults/f16-f17-client-leaves.ts'
import { slowReaders } from './faults/f18-slow-readers.ts'
import { clockJumps } from './faults/f35-clock-jumps.ts'
import { calendar } from './faults/f36-calendar.ts'

export const faults: readonly Fault[] = [
  killGateway,
  killAfterSettlement,
  killBeforeSettlement,
  killInLedgerTransaction,
  tornWrite,
  bitRot,
  writeFails,
  writeStalls,
  journalFull,
  logVolumeFull,
  databaseStopped,
  databaseHangs,
  connectionsCut,
  reservationStorm,
  noCache,
  leavesMidStream,
  leavesBehindEnd,
  slowReaders,
  clockJumps,
  calendar,
]
