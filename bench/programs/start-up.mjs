// An app that imports the Milvus SDK and exits.
import '@zilliz/milvus2-sdk-node';
import { reportAtExit } from './report.mjs';

reportAtExit();
