"""The local Athena in this process, through boto3 clients, without a server or a socket."""
