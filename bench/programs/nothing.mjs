// An app that does nothing.
import { reportAtExit } from './report.mjs';

reportAtExit();
