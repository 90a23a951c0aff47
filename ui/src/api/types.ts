// What the API's JSON holds, by the names of its OpenAPI document. Times are ISO 8601 UTC.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Bar = Schemas["Bar"];
/** The open bar: `ordinal` is that of the bar to be. */
export type Forming = Schemas["Forming"];
export type Prediction = Schemas["Prediction"];
export type Score = Schemas["Score"];
export type Summary = Schemas["Summary"];
export type Stream = Schemas["StreamView"];
export type Deployment = Schemas["DeploymentView"];
/** A hole in a feed, before a tick. */
export type Gap = Schemas["Gap"];
export type Packet = Schemas["Packet"];
export type Problem = Schemas["Problem"];
export type Status = Schemas["Status"];
export type Worker = Schemas["Worker"];
