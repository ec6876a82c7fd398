/**
 * The span of an operation, where the SDK that takes it is the one that this package has started. It goes the way of the
 * SDK's own: the same sampler, ids, limits and processors; but it holds only what differs from one call to the next.
 * docs/decisions/cost-per-call.md says why.
 */
import {
  type Attributes,
  type AttributeValue,
  type Context,
  diag,
  type Exception,
  type HrTime,
  isSpanContextValid,
  type Link,
  type Span,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import {
  addHrTimes,
  cleanAttributes,
  cleanSimpleAttributes,
  hrTime,
  hrTimeDuration,
  type InstrumentationScope,
  isTimeInput,
  isTimeInputHrTime,
  millisToHrTime,
} from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import {
  type ReadableSpan,
  SamplingDecision,
  type SpanProcessor,
  type TimedEvent,
} from '@opentelemetry/sdk-trace';
import type { Clock } from './clock.ts';
import { startBelow } from './exact-starts.ts';
import { type IdPool, RandomIds, spanIdIn, traceIdIn, traceparentIn } from './random-ids.ts';
import { isSdkTracer, type SdkTracer } from './sdk-internals.ts';

/** What many spans have in common: those of one operation on one collection, or of them those that went alike until then. */
export class SpanShape {
  readonly name: string;
  readonly kind: SpanKind;
  /** All spans of the shape have this very object; none of its values is undefined or an object. */
  readonly attributes: Readonly<Attributes>;
  /** How many they are. */
  readonly size: number;
  /** As bytes of OTLP, once one of them was written. */
  encoded: EncodedShape | undefined;
  private readonly kept: KeptShapes | undefined;
  private followers: Map<string, Map<CommonValue, SpanShape>> | undefined;
  /** The follower that was asked for last: mostly it is asked for again. */
  private lastKey = '';
  private lastValue: CommonValue = '';
  private last: SpanShape | undefined;

  /** @param kept where its followers are counted. Without it there are none. */
  constructor(name: string, kind: SpanKind, attributes: Attributes, kept?: KeptShapes) {
    this.name = name;
    this.kind = kind;
    this.attributes = attributes;
    this.size = Object.keys(attributes).length;
    this.kept = kept;
  }

  /** The shape of spans that have one attribute more; undefined where such a shape is not worth keeping. */
  with(key: string, value: CommonValue): SpanShape | undefined {
    // Not ===, to which -0 is 0.
    if (key === this.lastKey && Object.is(value, this.lastValue)) return this.last;
    const follower = this.followers?.get(key)?.get(value) ?? this.follower(key, value);
    if (follower !== undefined) {
      this.lastKey = key;
      this.lastValue = value;
      this.last = follower;
    }
    return follower;
  }

  private follower(key: string, value: CommonValue): SpanShape | undefined {
    const { kept } = this;
    if (kept === undefined || kept.count >= MAX_FOLLOWERS || this.size >= ROOM) return undefined;
    const values = this.followers?.get(key) ?? new Map<CommonValue, SpanShape>();
    if (values.size >= MAX_VALUES || Object.hasOwn(this.attributes, key)) return undefined;
    kept.count++;
    const follower = new SpanShape(this.name, this.kind, { ...this.attributes, [key]: value }, kept);
    values.set(value, follower);
    this.followers ??= new Map();
    this.followers.set(key, values);
    return follower;
  }
}

/** What encoded-spans.ts keeps of a shape. */
export interface EncodedShape {
  /** Name and kind. */
  readonly head: Uint8Array;
  readonly attributes: Uint8Array;
  /** Whole spans that had nothing beyond the shape: a root, a child of a span in this process, one of a span elsewhere. */
  readonly patterns: (Uint8Array | undefined)[];
}

/** How many followers there are of first shapes that are kept together. */
export interface KeptShapes {
  count: number;
}

/** A program whose values differ without end must not fill the memory; nor does it push out what is there. */
export const MAX_FOLLOWERS = 4_000;
/** Of one attribute, after the same others: where values are all different, shapes bring nothing. */
const MAX_VALUES = 16;

/** A value that many spans may have: a flag, a whole number, a short text. */
type CommonValue = string | number | boolean;

const LONGEST_COMMON = 64;

function isCommon(value: unknown): value is CommonValue {
  if (typeof value === 'string') return value.length <= LONGEST_COMMON;
  // By | 0 all others become what they were not, -0 and NaN too.
  return typeof value === 'number' ? Object.is(value | 0, value) : typeof value === 'boolean';
}

/** A tracer that knows shapes. */
export interface ShapeTracer extends Tracer {
  /** As startSpan; for callers that have seen to it that tracing is not suppressed in `parent`. */
  startShape(shape: SpanShape, parent: Context): Span;
}

const NO_LINKS: Link[] = [];
const NO_PAIRS: unknown[] = [];
const UNLIMITED = { attributeCountLimit: Infinity, attributeValueLengthLimit: Infinity };

/** What few spans have. */
interface Rare {
  readonly status: SpanStatus;
  readonly events: TimedEvent[];
  readonly links: Link[];
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
  readonly givenEnd: HrTime | undefined;
}

const NOTHING_RARE: Rare = {
  status: { code: SpanStatusCode.UNSET },
  events: [],
  links: NO_LINKS,
  droppedAttributesCount: 0,
  droppedEventsCount: 0,
  droppedLinksCount: 0,
  givenEnd: undefined,
};

class LeanTracer implements ShapeTracer {
  readonly sdk: SdkTracer;
  readonly clock: Clock;
  readonly processor: SpanProcessor;
  private readonly ids: RandomIds | undefined;

  constructor(sdk: SdkTracer, clock: Clock) {
    this.sdk = sdk;
    this.clock = clock;
    const several = sdk._spanProcessor._spanProcessors;
    this.processor = (several?.length === 1 ? several[0] : undefined) ?? sdk._spanProcessor;
    this.ids = sdk._idGenerator instanceof RandomIds ? sdk._idGenerator : undefined;
  }

  startSpan: Tracer['startSpan'] = (...given) => this.sdk.startSpan(...given);

  startActiveSpan: Tracer['startActiveSpan'] = (...given: unknown[]) =>
    (this.sdk.startActiveSpan as (...given: unknown[]) => never)(...given);

  startShape(shape: SpanShape, parent: Context): Span {
    const { sdk } = this;
    const above = trace.getSpanContext(parent);
    const isChild = above !== undefined && isSpanContextValid(above);
    const pair = this.ids?.take() ?? 0;
    const pool = this.ids?.pool;
    const { _idGenerator: others } = sdk;
    const spanId = pool === undefined ? others.generateSpanId() : spanIdIn(pool, pair);
    let traceId: string;
    if (isChild) ({ traceId } = above);
    else traceId = pool === undefined ? others.generateTraceId() : traceIdIn(pool, pair);
    const { name, kind } = shape;
    const sampling = sdk._sampler.shouldSample(parent, traceId, name, kind, shape.attributes, NO_LINKS);
    const { decision } = sampling;
    const recordEnd = sdk._tracerMetrics.startSpan(above, decision);
    const own: SpanContext = {
      traceId,
      spanId,
      traceFlags: decision === SamplingDecision.RECORD_AND_SAMPLED ? TraceFlags.SAMPLED : TraceFlags.NONE,
      traceState: sampling.traceState ?? (isChild ? above.traceState : undefined),
    };
    if (decision === SamplingDecision.NOT_RECORD) return trace.wrapSpanContext(own);
    const span = new LeanSpan(this, shape, own, isChild ? above : undefined, pool, pair, recordEnd, parent);
    if (sampling.attributes !== undefined) span.setAttributes(sampling.attributes);
    this.processor.onStart(span as unknown as Parameters<SpanProcessor['onStart']>[0], parent);
    return span;
  }
}

/** No `#names`, as in OperationSpan: made for each call. */
export class LeanSpan implements Span, ReadableSpan {
  shape: SpanShape;
  readonly parentSpanContext: SpanContext | undefined;
  /** Key, value, key, value, …: what came after the shape, in the order in which it came. */
  added = NO_PAIRS;
  /** Since 1970. */
  readonly startMs: number;
  durationMs = -1;
  ended = false;
  /** Has the span's id as bytes, at `pair`, and that of the trace if the span has no parent. Undefined: they are only text. */
  readonly pool: IdPool | undefined;
  readonly pair: number;
  private rare = NOTHING_RARE;
  private readonly tracer: LeanTracer;
  private readonly own: SpanContext;
  private readonly recordEnd: (() => void) | undefined;
  /** The same by the monotonic clock. */
  readonly beganMs: number;

  constructor(
    tracer: LeanTracer,
    shape: SpanShape,
    own: SpanContext,
    parentSpanContext: SpanContext | undefined,
    pool: IdPool | undefined,
    pair: number,
    recordEnd: (() => void) | undefined,
    parent: Context,
  ) {
    const { clock } = tracer;
    const wallMs = clock.wallMs();
    this.beganMs = clock.monotonicMs();
    this.startMs = startBelow(parent, clock.epochMs(wallMs, this.beganMs), this.beganMs);
    this.tracer = tracer;
    this.shape = shape;
    this.own = own;
    this.parentSpanContext = parentSpanContext;
    this.pool = pool;
    this.pair = pair;
    this.recordEnd = recordEnd;
  }

  spanContext(): SpanContext {
    return this.own;
  }

  /** The header, if it was made with the ids. */
  get traceparent(): string | undefined {
    const { pool, own } = this;
    return pool !== undefined && this.parentSpanContext === undefined && own.traceFlags === TraceFlags.SAMPLED
      ? traceparentIn(pool, this.pair)
      : undefined;
  }

  get name(): string {
    return this.shape.name;
  }

  get kind(): SpanKind {
    return this.shape.kind;
  }

  /** Whether nothing but attributes came to it, and it ended when it was told to. */
  get isPlain(): boolean {
    return this.rare === NOTHING_RARE;
  }

  get status(): SpanStatus {
    return this.rare.status;
  }

  get events(): TimedEvent[] {
    return this.rare.events;
  }

  get links(): Link[] {
    return this.rare.links;
  }

  get droppedAttributesCount(): number {
    return this.rare.droppedAttributesCount;
  }

  get droppedEventsCount(): number {
    return this.rare.droppedEventsCount;
  }

  get droppedLinksCount(): number {
    return this.rare.droppedLinksCount;
  }

  /** Undefined: when `durationMs` have passed. */
  get givenEnd(): HrTime | undefined {
    return this.rare.givenEnd;
  }

  private setRare(changed: Partial<Rare>): void {
    this.rare = { ...this.rare, ...changed };
  }

  get attributes(): Attributes {
    const attributes: Attributes = { ...this.shape.attributes };
    const { added } = this;
    for (let index = 0; index < added.length; index += 2)
      attributes[added[index] as string] = added[index + 1] as AttributeValue;
    return attributes;
  }

  get startTime(): HrTime {
    return millisToHrTime(this.startMs);
  }

  get endTime(): HrTime {
    if (!this.ended) return [0, 0];
    return this.givenEnd ?? addHrTimes(this.startTime, millisToHrTime(this.durationMs));
  }

  get duration(): HrTime {
    return this.ended ? hrTimeDuration(this.startTime, this.endTime) : [-1, -1];
  }

  get resource(): Resource {
    return this.tracer.sdk._resource;
  }

  get instrumentationScope(): InstrumentationScope {
    return this.tracer.sdk.instrumentationScope;
  }

  isRecording(): boolean {
    return !this.ended;
  }

  setAttribute(key: string, given: AttributeValue | undefined): this {
    if (given === undefined || this.refuses()) return this;
    // After one that no shape has, all that come are kept here, in the order in which they came.
    const shape =
      this.added === NO_PAIRS && key !== '' && isCommon(given) ? this.shape.with(key, given) : undefined;
    if (shape === undefined) this.add(key, given);
    else this.shape = shape;
    return this;
  }

  private add(key: string, given: AttributeValue): void {
    const value =
      key !== '' && isPlain(given) ? given : cleanAttributes({ [key]: given }, UNLIMITED).attributes?.[key];
    if (value === undefined) return;
    const { shape, added } = this;
    if (Object.hasOwn(shape.attributes, key)) {
      const attributes = { ...shape.attributes, [key]: value as AttributeValue };
      this.shape = new SpanShape(shape.name, shape.kind, attributes);
      return;
    }
    for (let index = 0; index < added.length; index += 2) {
      if (added[index] !== key) continue;
      added[index + 1] = value;
      return;
    }
    if (!this.hasRoom()) this.setRare({ droppedAttributesCount: this.droppedAttributesCount + 1 });
    else if (added === NO_PAIRS) this.added = [key, value];
    else added.push(key, value);
  }

  /** One by one, and never as a shape that is kept: see setAttribute. */
  setAttributes(attributes: Attributes): this {
    if (this.refuses()) return this;
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) this.add(key, value);
    return this;
  }

  addEvent(name: string, given?: Attributes | TimeInput, time?: TimeInput): this {
    if (this.refuses()) return this;
    const { eventCountLimit, attributePerEventCountLimit } = this.tracer.sdk._spanLimits;
    const attributes = isTimeInput(given) ? undefined : given;
    const at = time ?? (isTimeInput(given) ? given : undefined);
    const limits = { ...UNLIMITED, attributeCountLimit: attributePerEventCountLimit };
    const event = {
      name,
      time: this.timeOf(at),
      ...cleanSimpleAttributes(attributes, limits),
    };
    const events = [...this.events, event];
    const kept = events.slice(Math.max(0, events.length - eventCountLimit));
    const droppedEventsCount = this.droppedEventsCount + events.length - kept.length;
    this.setRare({ events: kept, droppedEventsCount });
    return this;
  }

  addLink(link: Link): this {
    return this.addLinks([link]);
  }

  addLinks(given: Link[]): this {
    if (this.refuses()) return this;
    const { linkCountLimit, attributePerLinkCountLimit } = this.tracer.sdk._spanLimits;
    const limits = { ...UNLIMITED, attributeCountLimit: attributePerLinkCountLimit };
    const links = [
      ...this.links,
      ...given.map(({ context, attributes }) => ({ context, ...cleanAttributes(attributes, limits) })),
    ];
    const kept = links.slice(Math.max(0, links.length - linkCountLimit));
    const droppedLinksCount = this.droppedLinksCount + links.length - kept.length;
    this.setRare({ links: kept, droppedLinksCount });
    return this;
  }

  recordException(exception: Exception, time?: TimeInput): void {
    const { code, name, message, stack } = (
      typeof exception === 'string' ? { message: exception } : (exception ?? {})
    ) as { code?: string | number; name?: string; message?: string; stack?: string };
    const type = code ? String(code) : name;
    if (!type && !message) {
      diag.warn(`Failed to record an exception ${exception}`);
      return;
    }
    this.addEvent(
      'exception',
      {
        ...(type ? { 'exception.type': type } : {}),
        ...(message ? { 'exception.message': message } : {}),
        ...(stack ? { 'exception.stacktrace': stack } : {}),
      },
      time,
    );
  }

  setStatus({ code, message }: SpanStatus): this {
    if (this.refuses() || code === SpanStatusCode.UNSET || this.status.code === SpanStatusCode.OK)
      return this;
    const status =
      code === SpanStatusCode.ERROR && typeof message === 'string' ? { code, message } : { code };
    this.setRare({ status });
    return this;
  }

  updateName(name: string): this {
    if (!this.refuses()) this.shape = new SpanShape(name, this.shape.kind, { ...this.shape.attributes });
    return this;
  }

  end(time?: TimeInput): void {
    if (this.refuses()) return;
    this.durationMs = this.tracer.clock.monotonicMs() - this.beganMs;
    if (time !== undefined) {
      const end = this.timeOf(time);
      // No span ends before it has begun.
      this.setRare({ givenEnd: hrTimeDuration(this.startTime, end)[0] < 0 ? this.startTime : end });
    }
    const { processor } = this.tracer;
    processor.onEnding?.(this as unknown as Parameters<SpanProcessor['onStart']>[0]);
    this.recordEnd?.();
    this.ended = true;
    processor.onEnd(this);
  }

  /** As the SDK's spans read a time: a number may count from 1970, or from the start of the process. */
  private timeOf(given: TimeInput | undefined): HrTime {
    if (given instanceof Date) return millisToHrTime(given.getTime());
    if (isTimeInputHrTime(given)) return given;
    const nowMs = this.tracer.clock.monotonicMs();
    if (typeof given !== 'number') return addHrTimes(this.startTime, millisToHrTime(nowMs - this.beganMs));
    if (given > nowMs) return millisToHrTime(given);
    return hrTime(given + this.startMs - (this.beganMs + performance.timeOrigin));
  }

  private hasRoom(): boolean {
    const limit = this.tracer.sdk._spanLimits.attributeCountLimit;
    return this.shape.size + this.added.length / 2 < limit;
  }

  private refuses(): boolean {
    if (this.ended) {
      const { traceId, spanId } = this.own;
      diag.warn(`Operation attempted on ended Span {traceId: ${traceId}, spanId: ${spanId}}`);
    }
    return this.ended;
  }
}

const isPlain = (value: unknown): boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';

/** As many attributes as a span of ours may have before limits matter. */
const ROOM = 32;

/**
 * `provider`, whose tracer called `name` makes lean spans; as it is when the SDK is another one than this was written for,
 * or when attributes are limited.
 */
export function withLeanSpans(provider: TracerProvider, name: string, clock: Clock): TracerProvider {
  return {
    getTracer(...given) {
      const tracer = provider.getTracer(...given);
      return given[0] === name && isSdkTracer(tracer) && isUnlimited(tracer)
        ? new LeanTracer(tracer, clock)
        : tracer;
    },
  };
}

const isUnlimited = ({ _spanLimits: limits }: SdkTracer): boolean =>
  limits.attributeValueLengthLimit === Infinity && limits.attributeCountLimit >= ROOM;
