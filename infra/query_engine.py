"""Athena: the workgroup, where its results go, and the permissions to use them."""

from aws_cdk import Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.data_access import grant_data_access
from infra.permissions import grant
from infra.results import Results
from infra.settings import Settings


class QueryEngine(Construct):
    """`work_group_name` and `results`. A query has the permissions of the role that starts it."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self.results = Results(self, settings=settings)
        self.work_group_name = settings.work_group or self._make_work_group().ref
        self._work_group_arn = Stack.of(self).format_arn(
            service="athena", resource="workgroup", resource_name=self.work_group_name
        )
        # Results that Athena manages are read through Athena.
        self._read_actions = ["athena:GetQueryExecution", "athena:GetQueryResults"]
        if self.results.bucket is None:
            self._read_actions.append("athena:GetQueryResultsStream")

    def grant_run(self, role: iam.Role) -> None:
        """Start, read and stop queries over the data in the settings."""
        grant(
            role,
            "RunQueries",
            actions=[
                *("athena:StartQueryExecution", "athena:StopQueryExecution"),
                *self._read_actions,
                *("athena:GetNamedQuery", "athena:GetPreparedStatement"),
                *("athena:CreatePreparedStatement", "athena:UpdatePreparedStatement"),
                "athena:DeletePreparedStatement",
            ],
            resources=[self._work_group_arn],
        )
        self._grant_catalogs(role)
        self.results.grant_run(role)
        grant_data_access(role, self._settings)

    def grant_read(self, role: iam.Role) -> None:
        """Read queries and their results."""
        grant(role, "ReadQueries", actions=self._read_actions, resources=[self._work_group_arn])
        self.results.grant_read(role)

    def grant_describe(self, role: iam.Role) -> None:
        """Read what queries have used, but no results."""
        grant(
            role,
            "DescribeQueries",
            actions=["athena:GetQueryExecution"],
            resources=[self._work_group_arn],
        )

    def grant_stop(self, role: iam.Role) -> None:
        """Read and stop queries, and start those that claim a request token (docs/adr/0011)."""
        grant(
            role,
            "StopQueries",
            actions=[
                *("athena:StartQueryExecution", "athena:StopQueryExecution"),
                *("athena:GetQueryExecution", "athena:BatchGetQueryExecution"),
                "athena:GetNamedQuery",
            ],
            resources=[self._work_group_arn],
        )
        self._grant_catalogs(role)
        self.results.grant_claim(role)

    def _grant_catalogs(self, role: iam.Role) -> None:
        """Needed to start a query (Step Functions developer guide, "Run Amazon Athena queries")."""
        names = {"AwsDataCatalog", self._settings.default_catalog, *self._settings.federated_catalogs}
        grant(
            role,
            "ResolveCatalogs",
            actions=["athena:GetDataCatalog"],
            resources=[
                Stack.of(self).format_arn(service="athena", resource="datacatalog", resource_name=name)
                for name in sorted(names)
            ],
        )

    def _make_work_group(self) -> athena.CfnWorkGroup:
        return athena.CfnWorkGroup(
            self,
            "WorkGroup",
            name=self._settings.stack_name,
            description=f"Queries of the state machine {self._settings.stack_name}",
            recursive_delete_option=True,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=self._settings.bytes_scanned_limit,
                **self.results.configuration(),
            ),
        )
