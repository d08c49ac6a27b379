"""The local Athena in this process, through boto3 clients: no host, no socket."""
