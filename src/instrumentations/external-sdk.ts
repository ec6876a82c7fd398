/** How to keep the SDK outside a framework's bundle: text of the preload's line and of the doctor. */
import { SDK } from '../milvus/sdk-version.ts';

export const GRPC = '@grpc/grpc-js';

/** @param isNext whether the app is one of Next.js. */
export const howToKeepOutside = (isNext: boolean): string =>
  isNext
    ? `serverExternalPackages: ['${SDK}', '${GRPC}'] in next.config`
    : `keep ${SDK} and ${GRPC} external (esbuild --external:NAME, webpack externals, Vite ssr.external; ` +
      'with SvelteKit, dependencies instead of devDependencies), and install both alongside the bundle';
