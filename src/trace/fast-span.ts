/**
 * The span of an operation. It has the same fields and bytes as the SDK's span, and the same limits and
 * processors. Its initial attributes are known to be valid, so they are not checked or copied. Figures:
 * docs/decisions/cost-per-call.md.
 */
import {
  type Attributes,
  type AttributeValue,
  type Context,
  diag,
  type Exception,
  type HrTime,
  type Link,
  type Span,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
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
import type { ReadableSpan, SpanProcessor, TimedEvent } from '@opentelemetry/sdk-trace';
import {
  ATTR_EXCEPTION_MESSAGE,
  ATTR_EXCEPTION_STACKTRACE,
  ATTR_EXCEPTION_TYPE,
} from '@opentelemetry/semantic-conventions';
import type { Clock } from './clock.ts';
import { startBelow } from './exact-starts.ts';
import type { SdkTracer } from './sdk-internals.ts';

const UNSET: SpanStatus = { code: SpanStatusCode.UNSET };
const NO_LINKS: Link[] = [];
const NO_EVENTS: TimedEvent[] = [];
const UNLIMITED = { attributeCountLimit: Infinity, attributeValueLengthLimit: Infinity };

/** Shared by all spans of a tracer. */
interface SpanMaker {
  readonly sdk: SdkTracer;
  readonly clock: Clock;
}

/** No `#names`: until V8 optimises a constructor, each costs several times an ordinary field. */
export class FastSpan implements Span, ReadableSpan {
  name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
  readonly parentSpanContext: SpanContext | undefined;
  status = UNSET;
  events = NO_EVENTS;
  links = NO_LINKS;
  droppedAttributesCount = 0;
  droppedEventsCount = 0;
  droppedLinksCount = 0;
  readonly startTime: HrTime;
  endTime: HrTime = [0, 0];
  ended = false;
  /** Its start: in ms since 1970, and by the monotonic clock. */
  readonly startMs: number;
  readonly beganMs: number;
  recordEnd: (() => void) | undefined;
  private readonly tracer: SpanMaker;
  private readonly own: SpanContext;
  private attributesCount: number;

  constructor(
    tracer: SpanMaker,
    name: string,
    kind: SpanKind,
    attributes: Attributes,
    own: SpanContext,
    parentSpanContext: SpanContext | undefined,
    parent: Context,
  ) {
    const { clock } = tracer;
    const wallMs = clock.wallMs();
    this.beganMs = clock.monotonicMs();
    this.startMs = startBelow(parent, clock.epochMs(wallMs, this.beganMs), this.beganMs);
    this.startTime = millisToHrTime(this.startMs);
    this.tracer = tracer;
    this.name = name;
    this.kind = kind;
    this.attributes = attributes;
    this.attributesCount = Object.keys(attributes).length;
    this.own = own;
    this.parentSpanContext = parentSpanContext;
  }

  spanContext(): SpanContext {
    return this.own;
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
    const value =
      key !== '' && isPlain(given) ? given : cleanAttributes({ [key]: given }, UNLIMITED).attributes?.[key];
    if (value === undefined) return this;
    if (!Object.hasOwn(this.attributes, key)) {
      if (this.attributesCount >= this.tracer.sdk._spanLimits.attributeCountLimit) {
        this.droppedAttributesCount++;
        return this;
      }
      this.attributesCount++;
    }
    this.attributes[key] = value;
    return this;
  }

  setAttributes(attributes: Attributes): this {
    for (const [key, value] of Object.entries(attributes)) this.setAttribute(key, value);
    return this;
  }

  addEvent(name: string, given?: Attributes | TimeInput, time?: TimeInput): this {
    if (this.refuses()) return this;
    const { eventCountLimit, attributePerEventCountLimit } = this.tracer.sdk._spanLimits;
    const attributes = isTimeInput(given) ? undefined : given;
    const at = time ?? (isTimeInput(given) ? given : undefined);
    const limits = { ...UNLIMITED, attributeCountLimit: attributePerEventCountLimit };
    const event = { name, time: this.timeOf(at), ...cleanSimpleAttributes(attributes, limits) };
    const events = [...this.events, event];
    this.events = events.slice(Math.max(0, events.length - eventCountLimit));
    this.droppedEventsCount += events.length - this.events.length;
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
      ...given.map(({ context: linked, attributes }) => ({
        context: linked,
        ...cleanAttributes(attributes, limits),
      })),
    ];
    this.links = links.slice(Math.max(0, links.length - linkCountLimit));
    this.droppedLinksCount += links.length - this.links.length;
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
    const attributes: Attributes = {};
    if (type) attributes[ATTR_EXCEPTION_TYPE] = type;
    if (message) attributes[ATTR_EXCEPTION_MESSAGE] = message;
    if (stack) attributes[ATTR_EXCEPTION_STACKTRACE] = stack;
    this.addEvent('exception', attributes, time);
  }

  setStatus({ code, message }: SpanStatus): this {
    if (this.refuses() || code === SpanStatusCode.UNSET || this.status.code === SpanStatusCode.OK)
      return this;
    this.status = code === SpanStatusCode.ERROR && typeof message === 'string' ? { code, message } : { code };
    return this;
  }

  updateName(name: string): this {
    if (!this.refuses()) this.name = name;
    return this;
  }

  end(time?: TimeInput): void {
    if (this.refuses()) return;
    const end = this.timeOf(time);
    // A span must not end before its start.
    this.endTime = hrTimeDuration(this.startTime, end)[0] < 0 ? this.startTime : end;
    const { _spanProcessor: processor } = this.tracer.sdk;
    processor.onEnding?.(this as unknown as Parameters<SpanProcessor['onStart']>[0]);
    this.recordEnd?.();
    this.ended = true;
    processor.onEnd(this);
  }

  /** Reads a time as the SDK's spans do: a number may be relative to 1970 or to the start of the process. */
  private timeOf(given: TimeInput | undefined): HrTime {
    if (given instanceof Date) return millisToHrTime(given.getTime());
    if (isTimeInputHrTime(given)) return given;
    const nowMs = this.tracer.clock.monotonicMs();
    if (typeof given !== 'number') return addHrTimes(this.startTime, millisToHrTime(nowMs - this.beganMs));
    if (given > nowMs) return millisToHrTime(given);
    return hrTime(given + this.startMs - (this.beganMs + performance.timeOrigin));
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
