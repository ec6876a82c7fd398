/** Time limit of a health check, in ms. */
const TIMEOUT_MS = 2_000;

/** Whether `url` answers with a 2xx status, and with `body` where one is given. Never rejects. */
export async function isHealthy(url: string, body?: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    return response.ok && (body === undefined || text === body);
  } catch {
    return false;
  }
}
