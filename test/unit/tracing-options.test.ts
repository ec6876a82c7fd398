/** Sampler, limits and propagators that the variables ask for. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { defaultTextMapSetter, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { type Sampler, SamplingDecision } from '@opentelemetry/sdk-trace';
import { readSettings } from '../../src/config/settings.ts';
import { tracingOptions } from '../../src/sdk/tracing-options.ts';

const options = (env: Record<string, string>) => tracingOptions(readSettings(env));
const spanContext = (traceFlags: number) => ({
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags,
  isRemote: true,
});

describe('a sampler', () => {
  const isSampled = (sampler: Sampler, traceId: string, parent?: number) => {
    const parentContext =
      parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContext(parent));
    const { decision } = sampler.shouldSample(parentContext, traceId, 's', SpanKind.CLIENT, {}, []);
    return decision === SamplingDecision.RECORD_AND_SAMPLED;
  };
  /**
   * Of a root with a low and with a high trace id; below a parent that is not sampled and below one that is.
   */
  const cases: [
    env: Record<string, string>,
    decisions: [low: boolean, high: boolean, not: boolean, sampled: boolean],
  ][] = [
    [{}, [true, true, false, true]],
    [{ OTEL_TRACES_SAMPLER: 'always_on' }, [true, true, true, true]],
    [{ OTEL_TRACES_SAMPLER: 'always_off' }, [false, false, false, false]],
    [{ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, [false, false, false, true]],
    [{ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.5' }, [true, false, true, true]],
    [
      { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.5' },
      [true, false, false, true],
    ],
  ];
  for (const [env, expected] of cases)
    test(`is ${env.OTEL_TRACES_SAMPLER ?? 'by default parentbased_always_on'}`, () => {
      const { sampler } = options(env) as { sampler: Sampler };
      const [low, high] = [`${'0'.repeat(31)}1`, `${'f'.repeat(8)}${'0'.repeat(24)}`];
      assert.deepEqual(
        [
          isSampled(sampler, low),
          isSampled(sampler, high),
          isSampled(sampler, low, 0),
          isSampled(sampler, low, 1),
        ],
        expected,
      );
    });
});

describe('limits', () => {
  test('are only the configured ones', () => {
    assert.deepEqual(options({}).spanLimits, {});
    assert.deepEqual(
      options({
        OTEL_SPAN_EVENT_COUNT_LIMIT: '1',
        OTEL_SPAN_LINK_COUNT_LIMIT: '2',
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: '3',
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: '4',
      }).spanLimits,
      {
        eventCountLimit: 1,
        linkCountLimit: 2,
        attributePerEventCountLimit: 3,
        attributePerLinkCountLimit: 4,
      },
    );
  });

  test('of spans take precedence over the general ones', () => {
    const general = { OTEL_ATTRIBUTE_COUNT_LIMIT: '10', OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: '100' };
    assert.deepEqual(options(general).spanLimits, {
      attributeCountLimit: 10,
      attributeValueLengthLimit: 100,
    });
    const both = {
      ...general,
      OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: '5',
      OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '50',
    };
    assert.deepEqual(options(both).spanLimits, { attributeCountLimit: 5, attributeValueLengthLimit: 50 });
  });
});

describe('propagators', () => {
  const headers = (value: string | undefined) => {
    const { textMapPropagator } = options(value === undefined ? {} : { OTEL_PROPAGATORS: value });
    const carrier: Record<string, string> = {};
    textMapPropagator?.inject(
      trace.setSpanContext(ROOT_CONTEXT, spanContext(1)),
      carrier,
      defaultTextMapSetter,
    );
    return Object.keys(carrier).sort();
  };
  const MULTI = ['x-b3-sampled', 'x-b3-spanid', 'x-b3-traceid'];

  test('are the W3C ones by default', () => {
    assert.deepEqual(headers(undefined), ['traceparent']);
    assert.deepEqual(options({}).textMapPropagator?.fields(), ['traceparent', 'tracestate', 'baggage']);
  });

  test('are the named ones, B3 with one header or several', () => {
    assert.deepEqual(headers('baggage'), []);
    assert.deepEqual(headers('b3'), ['b3']);
    assert.deepEqual(headers('b3multi'), MULTI);
    assert.deepEqual(headers('b3multi,tracecontext'), ['traceparent', ...MULTI]);
  });

  test('are off with none, whatever else is named', () => {
    assert.equal(options({ OTEL_PROPAGATORS: 'none' }).textMapPropagator, null);
  });
});
