import {
  ExpressInstrumentation,
  type ExpressInstrumentationConfig,
} from '@opentelemetry/instrumentation-express';

/** Routers since 2.3 keep the matched path out of their layers, and upstream then leaves the route out of the name. */
const spanNameHook: ExpressInstrumentationConfig['spanNameHook'] = ({ layerType, route }, name) =>
  layerType === 'request_handler' && name === 'request handler' && route ? `${name} - ${route}` : name;

export class Instrumentation extends ExpressInstrumentation {
  constructor(config: ExpressInstrumentationConfig = {}) {
    super({ spanNameHook, ...config });
  }
}
