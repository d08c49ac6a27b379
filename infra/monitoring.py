"""What an operator watches: a dashboard, alarms, and saved queries over the log line "settled"."""

from constructs import Construct

from infra.alarms import make_alarms
from infra.batches import Batches
from infra.dashboard import make_dashboard
from infra.metrics import Metrics
from infra.saved_queries import save_queries
from infra.settings import Settings
from infra.workflow import Workflow


class Monitoring(Construct):
    """`alarms` by name, and `dashboard`. The alarms notify the topic in the settings, if there is one."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, workflow: Workflow, batches: Batches | None
    ) -> None:
        super().__init__(scope, id_)
        metrics = Metrics(stack_name=settings.stack_name, workflow=workflow, batches=batches)
        self.alarms = make_alarms(self, metrics, settings)
        self.dashboard = make_dashboard(self, metrics, self.alarms, name=settings.stack_name)
        save_queries(
            self,
            prefix=settings.stack_name,
            log_groups=[workflow.executor.log_group, workflow.checker.log_group],
        )
