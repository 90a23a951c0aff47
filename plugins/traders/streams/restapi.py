"""Predictions on request: a REST API on a port of its own, for the models of the deployments on this stream.

Its page at / describes it and lets you try it; /openapi.json is its document. It feeds nothing: deployments on it
predict when they are asked, from inputs that the caller gives or from the latest state of a symbol of another stream.

Parameters
----------
port : integer >= 1 <= 65535, default 12345
    Port to listen on.
api_keys : secrets, optional
    Who has one of these may ask (header X-API-Key); env:NAME takes one from the environment. Without any, only
    programs on this machine can ask.
host : text, optional
    Address to listen on; without it, 127.0.0.1 where there are no keys, else 0.0.0.0.
source : text, optional
    Stream whose symbols' latest state can be predicted from.
"""

SERVER = "lit.serving.restapi:serve"
