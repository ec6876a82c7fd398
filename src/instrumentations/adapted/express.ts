import {
  ExpressInstrumentation,
  type ExpressInstrumentationConfig,
} from '@opentelemetry/instrumentation-express';

/** Since 2.3, layers of the router lack the matched path, and upstream's span name then lacks the route. */
const spanNameHook: ExpressInstrumentationConfig['spanNameHook'] = ({ layerType, route }, name) =>
  layerType === 'request_handler' && name === 'request handler' && route ? `${name} - ${route}` : name;

export class Instrumentation extends ExpressInstrumentation {
  constructor(config: ExpressInstrumentationConfig = {}) {
    super({ spanNameHook, ...config });
  }
}
