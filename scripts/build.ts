/** `npm run build`: dist/, whether or not a source has changed. */
import { buildPackage } from '../tools/build/build-package.ts';

await buildPackage();
