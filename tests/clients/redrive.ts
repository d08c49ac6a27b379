// Start an execution that fails, redrive it once its table is there, and print the responses as JSON.
import {
  DescribeExecutionCommand,
  RedriveExecutionCommand,
  SFNClient,
  StartExecutionCommand,
} from "@aws-sdk/client-sfn";
import { AthenaClient, GetQueryExecutionCommand, StartQueryExecutionCommand } from "@aws-sdk/client-athena";

const sfn = new SFNClient();
const athena = new AthenaClient();

async function ended(executionArn: string) {
  for (;;) {
    const execution = await sfn.send(new DescribeExecutionCommand({ executionArn }));
    if (execution.status !== "RUNNING") return execution;
  }
}

async function run(sql: string) {
  const started = await athena.send(
    new StartQueryExecutionCommand({ QueryString: sql, WorkGroup: "AthenaQueries" }),
  );
  for (;;) {
    const { QueryExecutionId } = started;
    const query = await athena.send(new GetQueryExecutionCommand({ QueryExecutionId }));
    if (query.QueryExecution?.Status?.State === "SUCCEEDED") return;
    if (query.QueryExecution?.Status?.State === "FAILED") {
      throw new Error(query.QueryExecution.Status.StateChangeReason);
    }
  }
}

const started = await sfn.send(
  new StartExecutionCommand({
    stateMachineArn: process.env.STATE_MACHINE_ARN,
    input: JSON.stringify({ QueryString: "SELECT n FROM scratch.node_later", PreviewRows: 1 }),
  }),
);
const failed = await ended(started.executionArn!);
await run("CREATE TABLE scratch.node_later AS SELECT 7 AS n");
const redriven = await sfn.send(new RedriveExecutionCommand({ executionArn: started.executionArn }));
const succeeded = await ended(started.executionArn!);
console.log(
  JSON.stringify({
    failed: failed.error,
    isDate: redriven.redriveDate instanceof Date && !Number.isNaN(redriven.redriveDate.valueOf()),
    sameDate: succeeded.redriveDate?.valueOf() === redriven.redriveDate?.valueOf(),
    redriveCount: succeeded.redriveCount,
    rows: JSON.parse(succeeded.output!).Preview.Rows,
  }),
);
