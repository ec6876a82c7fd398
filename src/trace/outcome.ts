/** The outcome of sending one batch of spans. */
import type { Rejection } from '../otlp/partial-success.ts';
import type { SpanBatch } from './span-batch.ts';

export type Outcome =
  /** Except for the spans that a partial success rejects for good. */
  | { kind: 'accepted'; rejected?: Rejection; warning?: string }
  /** Not now; the spans stay in the queue. */
  | Later
  /** The batch is too large; only for a batch of several spans. */
  | { kind: 'too large' }
  /** For good: the collector rejects them. */
  | { kind: 'refused'; reason: string; errorType?: string }
  /** Its only span cannot be serialized. */
  | { kind: 'unserializable'; reason: string };

export interface Later {
  kind: 'later';
  reason: string;
  /** For metrics: few different ones, such as the name of a status. */
  errorType?: string;
  /** No connection could be made, so the batch is not the cause. */
  isUnreachable?: boolean;
  /** Time before which the collector wants no further attempt. */
  afterMs?: number;
  /** The same status may mean "too many at once", or "never". */
  mayBeTooLarge?: boolean;
}

/** Sends one batch; settles with its outcome, never rejects. */
export type Send = (batch: SpanBatch) => Promise<Outcome>;
