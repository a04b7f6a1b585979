"""AWS's services and operations as the SDK's own models list them, for `towpath policy check`."""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any, Final, cast

# Prefixes of actions whose service has another name in the SDK, or several.
_MODELS: Final = {
    "airflow": ("mwaa",),
    "aps": ("amp",),
    "autoscaling": ("autoscaling",),
    "bedrock": ("bedrock", "bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock-data-automation"),
    "cloudwatch": ("cloudwatch",),
    "cognito-identity": ("cognito-identity",),
    "dynamodb": ("dynamodb", "dynamodbstreams"),
    "elasticfilesystem": ("efs",),
    "elasticloadbalancing": ("elb", "elbv2"),
    "elasticmapreduce": ("emr",),
    "es": ("es", "opensearch"),
    "rds": ("rds", "docdb", "neptune"),
    "redshift-data": ("redshift-data",),
    "sagemaker": ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime", "sagemaker-metrics"),
    "ses": ("ses", "sesv2"),
    "sso": ("sso-admin", "sso"),
    "states": ("stepfunctions",),
    "tag": ("resourcegroupstaggingapi",),
    "timestream": ("timestream-query", "timestream-write"),
}
# Services whose actions are not called as their operations are.
_OTHERWISE: Final = frozenset({"apigateway", "execute-api", "aws-marketplace", "iot", "s3"})
# Prefixes that no client of the SDK and none of its endpoints has (Service Authorization Reference).
_WITHOUT_CLIENT = """
    a2c a4b aco-automation action-recommendations activate agentaccess-mcp aidevops airflow-serverless application-signals-mcp
    application-transformation appmesh-preview appstudio apptest arsenal aws-external-anthropic aws-marketplace
    aws-marketplace-management aws-portal awsconnector backup-search backup-storage bedrock-mantle bedrock-websearch bugbust
    cleanrooms-ml cloudshell codedeploy-commands-secure codeguru codestar codewhisperer consoleapp consolidatedbilling
    customer-verification dbqms ec2messages ecs-mcp eks-mcp elastictranscoder elemental-activations elemental-appliances-software
    elemental-inference elemental-support-cases elemental-support-content eventsbilltoaws evidently execute-api finops-agent finspace
    finspace-api freertos groundtruthlabeling health-agent honeycode identity-sync identitystore-auth inspector2-telemetry
    iot-device-tester iotanalytics iotevents iotfleethub iotjobsdata iotmanagedintegrations iq iq-permission kafka-cluster launchwizard
    lookoutmetrics lookoutvision mapcredits mechanicalturk mediaimport mobiletargeting monitron neptune-db network-security-director
    networkmanager-chat nimble one opsworks opsworks-cm panorama partnercentral partnercentral-account-management payments
    pricingplanmanager private-networks purchase-orders q qdeveloper qldb rds-db refactor-spaces researchstudio resource-explorer
    rhelkb robomaker s3-object-lambda s3express sagemaker-data-science-assistant sagemaker-mlflow sagemaker-unified-studio-mcp scn
    serviceextract simspaceweaver sms social-messaging sqlworkbench ssmmessages sso-directory sso-oauth support-console supportplans
    tag tiros tnb transform transform-custom ts user-subscriptions vendor-insights verified-access vpc-lattice-svcs vpce wam worklink
"""


class SdkCatalogue:
    """`towpath.iam.lint.Catalogue` out of botocore's data files."""

    @cached_property
    def _loader(self) -> Any:
        import botocore.session

        return cast("Any", botocore.session.Session()).get_component("data_loader")

    @cached_property
    def _clients(self) -> frozenset[str]:
        return frozenset(self._loader.list_available_services("service-2"))

    @cache  # noqa: B019 - one catalogue lives as long as one command
    def services(self) -> frozenset[str]:
        endpoints = {
            name for partition in self._loader.load_data("endpoints")["partitions"] for name in partition["services"]
        }
        # api.ecr, runtime.lex: the service is one of the two.
        parts = {part for name in endpoints for part in (name, name.partition(".")[0], name.rpartition(".")[2])}
        return self._clients | parts | frozenset(_WITHOUT_CLIENT.split()) | frozenset(_MODELS)

    @cache  # noqa: B019
    def operations(self, service: str) -> frozenset[str] | None:
        if service in _OTHERWISE:
            return None
        found = [name for name in _MODELS.get(service, (service,)) if name in self._clients]
        return (
            frozenset(
                operation
                for name in found
                for operation in self._loader.load_service_model(name, "service-2")["operations"]
            )
            or None
        )
