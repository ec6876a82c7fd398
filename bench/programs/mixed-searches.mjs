// Requests and answers of the mixed workload, by `number`, for the app and the stub Milvus.

const LIMITS = 97;
const COSTS = 41;

/** Limit of a mixed search: 1 to 97. */
export const mixedLimit = (number) => 1 + (number % LIMITS);

/** Rows that it finds: 1 up to its limit. */
export const mixedRows = (number) => 1 + ((number * 7) % mixedLimit(number));

/** One mixed search in 50 fails. */
export const mixedFails = (number) => number % 50 === 49;

/** The cost that Milvus reports for it: 1 to 41. */
export const mixedCost = (number) => 1 + (number % COSTS);
