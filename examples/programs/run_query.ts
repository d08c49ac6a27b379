// Run a statement through the state machine and print its rows as CSV: node run_query.ts NAME SQL
// STATE_MACHINE_ARN names the state machine. NAME is the execution's: the same NAME runs the same SQL once.
import { AthenaClient, paginateGetQueryResults } from "@aws-sdk/client-athena";
import {
  DescribeExecutionCommand,
  ExecutionAlreadyExists,
  SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from "@aws-sdk/client-sfn";
import { setTimeout } from "node:timers/promises";

interface Query {
  QueryString: string;
  TimeoutSeconds: number; // then the state machine stops the query: AthenaQuery.TimedOut
}

const PATIENCE_SECONDS = Number(process.env.PATIENCE_SECONDS ?? 3600); // then this program stops the execution

/** The execution did not succeed. `name` is its error, such as AthenaQuery.Failed. */
class QueryError extends Error {
  constructor(name: string, cause: string) {
    super(cause);
    this.name = name;
  }
}

/** Start the execution unless it exists, wait for its end, and return the QueryId of its output. */
async function run(sfn: SFNClient, stateMachineArn: string, name: string, query: Query): Promise<string> {
  const executionArn = `${stateMachineArn.replace(":stateMachine:", ":execution:")}:${name}`;
  const describe = () => sfn.send(new DescribeExecutionCommand({ executionArn }));
  const input = JSON.stringify(query);
  try {
    await sfn.send(new StartExecutionCommand({ stateMachineArn, name, input }));
  } catch (error) {
    if (!(error instanceof ExecutionAlreadyExists) || (await describe()).input !== input) throw error;
  }
  const began = performance.now();
  let execution = await describe();
  while (execution.status === "RUNNING") {
    const waited = (performance.now() - began) / 1000;
    if (waited > PATIENCE_SECONDS) {
      await sfn.send(new StopExecutionCommand({ executionArn, cause: "The caller stopped waiting" }));
      throw new QueryError("TimeoutError", `${name} did not end within ${PATIENCE_SECONDS} s and was stopped`);
    }
    await setTimeout(Math.min(200 + waited * 100, 10_000));
    execution = await describe();
  }
  if (execution.status !== "SUCCEEDED") {
    throw new QueryError(execution.error ?? String(execution.status), execution.cause ?? "");
  }
  return JSON.parse(execution.output!).QueryId;
}

/** The rows of the result, page by page; the first row of a SELECT has the column names. NULL is undefined. */
async function* rows(client: AthenaClient, queryId: string): AsyncGenerator<(string | undefined)[]> {
  for await (const page of paginateGetQueryResults({ client }, { QueryExecutionId: queryId })) {
    for (const row of page.ResultSet?.Rows ?? []) yield (row.Data ?? []).map((cell) => cell.VarCharValue);
  }
}

const quoted = (cell?: string) => (cell === undefined ? "" : `"${cell.replaceAll('"', '""')}"`);
const [name, sql] = process.argv.slice(2);
try {
  const query = { QueryString: sql, TimeoutSeconds: 600 };
  const queryId = await run(new SFNClient(), process.env.STATE_MACHINE_ARN!, name, query);
  for await (const row of rows(new AthenaClient(), queryId)) console.log(row.map(quoted).join(","));
} catch (error) {
  if (!(error instanceof Error)) throw error;
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
