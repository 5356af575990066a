"""The demo is not influenced by what the user has set up."""

from hfnfs.demo.environment import forget_the_account


def test_account_endpoint_and_proxies_are_forgotten_and_the_rest_stays() -> None:
    environ = {
        "HF_TOKEN": "hf_x",
        "HF_ENDPOINT": "http://elsewhere",
        "HF_HUB_OFFLINE": "1",
        "HUGGING_FACE_HUB_TOKEN": "hf_y",
        "HUGGINGFACE_CO_STAGING": "1",
        "http_proxy": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "no_proxy": "",
        "PATH": "/bin",
        "SHELF_LIFE": "1",
    }
    forget_the_account(environ)
    assert environ == {"PATH": "/bin", "SHELF_LIFE": "1"}
