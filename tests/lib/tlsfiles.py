# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and certificates for the two hosts of a pair."""

import secrets
import subprocess

CA_TEMPLATE = "cn = colod test\nca\ncert_signing_key\nexpiration_days = 1\n"
HOST_TEMPLATE = ("cn = {name}\nip_address = {name}\nsigning_key\n"
                 "tls_www_server\ntls_www_client\nexpiration_days = 1\n")


def use_psk(*nodes, key=None):
    """Hosts with one key, which is another one with each call."""
    key = key or secrets.token_hex(32)
    for node in nodes:
        path = node.folder / "psk"
        path.write_text(f"other-guest:{secrets.token_hex(32)}\n{node.config['name']}:{key}\n")
        path.chmod(0o600)
        node.config.pop("insecure", None)
        node.config.update(tls="psk", tls_psk_file=str(path))


def certtool(*arguments):
    subprocess.run(["certtool", "--ecdsa", *arguments], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, timeout=60)


def make_key(path):
    certtool("--generate-privkey", "--outfile", path)
    path.chmod(0o600)
    return path


class Authority:
    """Signs certificates for the addresses of hosts."""

    def __init__(self, folder):
        folder.mkdir()
        self.key, self.cert = make_key(folder / "ca-key"), folder / "ca.pem"
        template = folder / "ca.cfg"
        template.write_text(CA_TEMPLATE)
        certtool("--generate-self-signed", "--load-privkey", self.key, "--template", template,
                 "--outfile", self.cert)

    def equip(self, *nodes):
        for node in nodes:
            name = node.config["listen"].rpartition(":")[0].strip("[]")
            key, cert = make_key(node.folder / "key"), node.folder / "cert.pem"
            template = node.folder / "cert.cfg"
            template.write_text(HOST_TEMPLATE.format(name=name))
            certtool("--generate-certificate", "--load-privkey", key,
                     "--load-ca-certificate", self.cert, "--load-ca-privkey", self.key,
                     "--template", template, "--outfile", cert)
            node.config.pop("insecure", None)
            node.config.update(tls="x509", tls_ca=str(self.cert), tls_cert=str(cert),
                               tls_key=str(key))
