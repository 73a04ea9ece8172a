/** Types of sluice.js: a client of sluice for browsers and Node >= 20. docs/clients.md says how it behaves. */

/** Where a reader stands: the offset of the last message it had, in one epoch of a topic. */
export interface Position {
  epoch: string;
  offset: number;
}

/** Where to begin: a message is a position, and a text is one as `EPOCH:OFFSET`. */
export type Since = "newest" | "oldest" | Position | (string & {});
export type OnLag = "disconnect" | "drop_oldest" | "latest";

export interface Message<Data = unknown> extends Position {
  topic: string;
  data: Data;
  gap?: undefined;
  restart?: undefined;
}

/** The offsets from `from` to `to` (inclusive) never come. */
export interface Gap {
  gap: { from: number; to: number };
  restart?: undefined;
  topic?: undefined;
  epoch?: undefined;
  offset?: undefined;
  data?: undefined;
  event?: undefined;
}

/** The position was lost with its topic: the new one follows from its oldest message. */
export interface Restart {
  restart: Position;
  gap?: undefined;
  topic?: undefined;
  epoch?: undefined;
  offset?: undefined;
  data?: undefined;
  event?: undefined;
}

export type FetchError =
  | "invalid_url" | "invalid_request" | "blocked" | "dns" | "connect" | "tls" | "timeout" | "protocol" | "redirects"
  | "too_large" | "cancelled" | "unavailable" | "step_failed" | "storage" | (string & {});

export interface Timing {
  queued: number;
  dns: number;
  connect: number;
  first_byte: number;
  total: number;
}

/** An upstream's answer of any status. */
export interface Result {
  event: "result";
  index: number;
  url: string;
  final_url: string;
  status: number;
  headers: Record<string, string>;
  bytes: number;
  truncated: boolean;
  /** Neither is there where steps were carried out, unless the option `body` asks for them. */
  encoding?: string | null;
  body?: string | null;
  attempts: number;
  cache: "miss" | "hit" | "revalidated" | "shared" | (string & {});
  timing: Timing;
  /** There where headers beyond 16 KiB were left out. */
  headers_truncated?: true;
  steps?: StepResult[];
}

/** A step with its parameters. */
export interface Step {
  step: string;
  [parameter: string]: unknown;
}

/** The result of a step; its other members depend on it. */
export interface StepResult {
  step: string;
  [member: string]: unknown;
}

export interface Failed {
  event: "failed";
  index: number;
  url: string;
  error: FetchError;
  detail: string;
  attempts: number;
  retry_after?: number;
  timing?: Partial<Timing>;
  /** Which step failed, and the results of those before it. */
  step?: string;
  steps?: StepResult[];
}

/** What the step `count` found in all bodies of a batch. */
export interface Counts {
  lines: number;
  skipped: number;
  keys: number;
  exact: boolean;
  error_bound: number;
  top: { key: string; count: number }[];
  missed?: number;
}

export interface Progress {
  event: "progress";
  counts: Counts;
}

export interface Done {
  event: "done";
  total: number;
  ok: number;
  failed: number;
  by_status: Record<string, number>;
  elapsed_ms: number;
  counts?: Counts;
}

export type BatchEvent = Result | Failed | Progress | Done;

export interface WatchState {
  event: "state" | "changed";
  url: string;
  status: number;
  etag: string | null;
  sha256: string;
  encoding: string | null;
  body: string | null;
  truncated: boolean;
  checked_at: string;
  changed_at: string;
  /** Where the watch has steps. */
  steps?: StepResult[];
  gap?: undefined;
  restart?: undefined;
}

export interface WatchError {
  event: "error";
  url: string;
  error: FetchError;
  detail: string;
  gap?: undefined;
  restart?: undefined;
}

export interface WatchRecovered {
  event: "recovered";
  url: string;
  gap?: undefined;
  restart?: undefined;
}

export type WatchEvent = WatchState | WatchError | WatchRecovered;

/** What has happened to the connection. */
export type State =
  | { state: "connecting" }
  | { state: "open" }
  | { state: "closing"; reason: string }
  | { state: "waiting"; code: number; reason: string; after: number }
  | { state: "closed"; code: number; reason: string };

export type Reason =
  | "parse_error" | "invalid_request" | "method_not_found" | "invalid_params" | "internal" | "not_found" | "forbidden"
  | "unauthorized" | "already_subscribed" | "limit" | "rate" | "overloaded" | "draining" | "too_large" | "storage"
  | "gateway_timeout" | "timeout" | "unanswered" | "closed" | "" | (string & {});

/** Why something was refused or has ended: `code` and `reason` of docs/protocol.md, or the code of a close. */
export class SluiceError extends Error {
  readonly name: "SluiceError" | "JobError";
  readonly code: number;
  readonly reason: Reason;
  readonly temporary: boolean;
  /** In seconds. */
  readonly retryAfter: number;
}

/** A job whose result was asked for has failed, or was cancelled, as `reason` says. */
export class JobError extends SluiceError {
  readonly reason: "failed" | "cancelled";
  /** One of the kinds of docs/jobs.md, or `cancelled`. */
  readonly error: string;
  readonly detail: string;
  readonly attempts?: number;
}

export interface Started extends Position {
  topic: string;
  batch?: string;
}

/** A stream has one loop. Leaving it unsubscribes, ends the watch, or cancels the batch. */
export interface Stream<Item> extends AsyncIterableIterator<Item> {
  readonly topic?: string;
  /** Of the last item that the loop was given: `since` of the next run. */
  readonly position?: Position;
  /** The service's answer; rejected where the stream is refused. */
  readonly started: Promise<Started>;
  return(): Promise<IteratorResult<Item, undefined>>;
}

/** A gap comes where the batch outgrew its memory while the client was away. */
export interface Batch extends Stream<BatchEvent | Gap | Restart> {
  readonly batch?: string;
  /** Cancel it and read on: what had not finished fails as `cancelled`, and `done` comes. */
  cancel(): Promise<{ cancelled: number }>;
}

export interface FetchRequest {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

export interface FetchOptions {
  body?: "auto" | "text" | "base64" | "none";
  max_bytes?: number;
  timeout?: number;
  retries?: number;
  concurrency?: number;
  redirects?: number;
  cache?: "default" | "reload" | "no-store" | "only-if-cached";
  headers?: Record<string, string>;
  method?: string;
  /** What is carried out on each whole 2xx body, in order. */
  steps?: Step[];
}

export interface CallWork {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  /** A text as it is, anything else as JSON. */
  body?: unknown;
}

export interface PublishWork {
  topic: string;
  data: unknown;
}

export type FetchWork =
  | { urls: string[]; requests?: undefined; options?: FetchOptions }
  | { requests: FetchRequest[]; urls?: undefined; options?: FetchOptions };

export interface RunWork {
  name: string;
  /** An array is positions, an object is keywords. */
  args?: unknown[] | Record<string, unknown>;
}

type One<Works> = { [Kind in keyof Works]: Pick<Works, Kind> & { [Other in Exclude<keyof Works, Kind>]?: undefined } }[keyof Works];

export type JobRequest = One<{ call: CallWork; publish: PublishWork; fetch: FetchWork; run: RunWork }> & {
  /** Seconds from now. */
  delay?: number;
  /** A time, as RFC 3339 has it. */
  at?: string;
  key?: string;
  retries?: number;
  /** Seconds for an attempt. */
  timeout?: number;
  /** Seconds for which it can be read after its end. */
  keep?: number;
};

export type JobState = "scheduled" | "queued" | "running" | "done" | "failed" | "cancelled";

export type JobEvent =
  /** With a `run` of 2 or higher, it runs once more. */
  | { event: "queued"; due: string; run?: number }
  | { event: "started"; attempt: number; worker: string }
  | { event: "progress"; done?: number; total?: number; message?: string; data?: unknown }
  | { event: "retry"; attempt: number; error: string; detail: string; at: string }
  | { event: "rescheduled"; due: string }
  | { event: "done"; result: any }
  | { event: "failed"; error: string; detail: string; attempts: number }
  | { event: "cancelled" };

/** Each loop begins with the first event, and ends after the last one of the run that is under way when it begins. */
export interface Job extends AsyncIterable<JobEvent | Gap | Restart> {
  readonly id: string;
  readonly topic: string;
  /** What was heard last: by the answer to the request that made it, then from loops. */
  readonly state?: JobState;
  /** When it begins, or begins again. */
  readonly due?: string;
  [Symbol.asyncIterator](): Stream<JobEvent | Gap | Restart>;
  /** Rejected with JobError where it failed or was cancelled. */
  result(): Promise<any>;
  /** Have it never run, or stop; whether it is cancelled: an ended one stays as it is. */
  cancel(): Promise<boolean>;
}

export interface Options {
  /** A function is called for each connection, before its token ends, and where one is refused. */
  token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /** For Node < 22: the class of the package `ws`. */
  WebSocket?: (new (url: any, protocols?: any) => any) | undefined;
  onState?: ((state: State) => void) | undefined;
  /** Bytes that the service takes as a message; larger batches are POSTed. */
  messageSize?: number;
  /** Seconds. */
  backoff?: { first?: number; most?: number; steady?: number };
}

export class Sluice {
  constructor(url: string | URL, options?: Options);
  subscribe<Data = any>(topic: string, options?: { since?: Since; onLag?: OnLag }): Stream<Message<Data> | Gap | Restart>;
  watch(
    url: string | URL,
    options: { every: number; select?: string; steps?: Step[]; onLag?: OnLag; since?: Since },
  ): Stream<WatchEvent | Gap | Restart>;
  fetch(urls: Iterable<string | URL | FetchRequest>, options?: FetchOptions): Batch;
  /** Rejected where it is refused, or not answered for 110 s: then nobody knows. */
  publish(topic: string, data: unknown, options?: { key?: string }): Promise<Position>;
  /** Have work done, now or later; resolved when the service keeps it. */
  job(request: JobRequest): Promise<Job>;
  /** A job by its id. */
  followJob(id: string): Job;
  /** Replace the credentials, now and for later connections. */
  authenticate(token: string): Promise<{ expires: number | null; unsubscribed?: string[] }>;
  /** Make any request that may be carried out twice. */
  call(method: "presence", params: { topic: string }): Promise<{ readers: number }>;
  call(method: "cancel", params: { batch: string }): Promise<{ cancelled: number }>;
  call(method: "cancel", params: { job: string }): Promise<{ cancelled: boolean; state: JobState }>;
  call(method: string, params?: object): Promise<any>;
  /** Cut the connection and connect again after this many seconds. */
  reconnect(after?: number): void;
  /** End the connection, all calls, and all streams. */
  close(): void;
}
