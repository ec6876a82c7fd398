// An app that sets up a web service with a database and Milvus, and exits.
import '@zilliz/milvus2-sdk-node';
import express from 'express';
import pg from 'pg';
import { reportAtExit } from './report.mjs';

express().get('/', (_request, response) => response.end());
new pg.Pool();
reportAtExit();
