"""The processes of one run: an origin, proxies in front of it, their configurations, and the cores they run on.

Nothing here measures, and nothing outlives `Rig.stop`.
"""

import glob
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALL = ["causeway", "nginx", "nginx-tuned", "haproxy", "haproxy-tuned", "relay"]
# Debian packages for what is needed beside Python and a C compiler.
TOOLS = {"wrk": "wrk", "h2load": "nghttp2-client", "openssl": "openssl", "nginx": "nginx-light", "haproxy": "haproxy", "taskset": "util-linux", "cc": "gcc libc6-dev"}

NGINX = """
daemon off; worker_processes {workers}; pid {dir}/{id}.pid; error_log {dir}/{id}.err; {user}
events {{ worker_connections {connections}; }}
http {{
  {temp}
  access_log {log};
  keepalive_requests 1000000000;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}
  client_body_buffer_size 64k; # with its default, nginx puts 16 KB in a file
  {tuned}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  ssl_certificate {cert}; ssl_certificate_key {key};
  server {{
    listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{tls} backlog=4096 ssl; listen 127.0.0.1:{h2} backlog=4096 http2;
    location / {{ proxy_pass http://origin; }}
  }}
}}
"""
NGINX_TUNED = "proxy_buffer_size 16k; proxy_buffers 8 64k;"

HAPROXY = """
global
  nbthread {workers}
  maxconn {connections}
  {tuned}
  {log}
defaults
  mode http
  timeout connect 3s
  timeout client 75s
  timeout server 60s
frontend in
  bind 127.0.0.1:{port} backlog 4096
  bind 127.0.0.1:{tls} backlog 4096 ssl crt {pem}
  bind 127.0.0.1:{h2} backlog 4096 proto h2
  {log_here}
  default_backend origin
backend origin
  http-reuse always
  server a 127.0.0.1:{origin} check
"""
HAPROXY_TUNED = "tune.bufsize 65536"

CAUSEWAY = """
listen = "127.0.0.1:{port}" # and HTTP/2
workers = {workers}
[listener.tls]
address = "127.0.0.1:{tls}"
[listener.tls.limits]
connections = 512 # unsaid, two listeners would share what the limit of files allows
[listener.tls.tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[admin]
address = "127.0.0.1:{admin}"
[log]
level = "warn"
{log}
[pool.origin]
upstreams = ["127.0.0.1:{origin}"]
[pool.origin.health]
path = "/1k"
"""


class Proxy:
    """One that runs: its process, its ports (for plain HTTP/1.1, TLS, HTTP/2), and the file that its access log goes to, if any."""

    def __init__(self, name, child, ports, log):
        self.name, self.child, self.log = name, child, log
        self.port, self.tls, self.h2 = ports

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def forget_log(self):
        """All three append to it, so it can be emptied under them; else a run would fill the disk."""
        if self.log and self.log.exists():
            os.truncate(self.log, 0)


class Rig:
    def __init__(self, options, directory):
        self.options, self.dir = options, directory
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_core, self.load_core = cores[0], cores[min(1, len(cores) - 1)]
        self.both_cores = f"{self.proxy_core},{self.load_core}"
        self.files = raise_limit_of_files()
        self.children = []
        self.origin = free_port()
        self.nginx_flags = output("nginx", "-V") if shutil.which("nginx") else ""
        self.cert, self.key, self.pem = certificate(directory)
        for name in ["origin", "relay", "steady"]:
            command = ["cc", "-O2", "-D_GNU_SOURCE", "-o", directory / name, HERE / f"{name}.c"]
            subprocess.run(command, check=True)
        (directory / "post.lua").write_text('wrk.method = "POST"\nwrk.body = string.rep("x", 16384)\n')
        self.start("origin", self.load_core, self.origin, [directory / "origin", self.origin])

    def start_proxy(self, name, workers=1, cores=None, connections=1024):
        """Starts one; `connections`: what it must be able to take at once."""
        port, tls, h2 = free_port(), free_port(), free_port()
        cores = self.proxy_core if cores is None else cores
        id = f"{name}-{port}"
        h2 = port if name == "causeway" else h2
        say = {"dir": self.dir, "id": id, "port": port, "tls": tls, "h2": h2, "origin": self.origin, "workers": workers}
        say |= {"connections": connections, "cert": self.cert, "key": self.key, "pem": self.pem}
        log = self.dir / f"{id}.log" if self.options.logs and name != "relay" else None
        family, tuned = name.removesuffix("-tuned"), name.endswith("-tuned")
        command = getattr(self, family)(say, log, tuned)
        child = self.start(id, cores, port, command, log if family == "haproxy" else None)
        return Proxy(name, child, (port, tls, h2), log)

    def causeway(self, say, log, _tuned):
        log = f'access = "json"\naccess_to = "{log}"' if log else 'access = "off"'
        text = CAUSEWAY.format(**say, log=log, admin=free_port())
        return [self.options.causeway, "run", "--config", self.write(f"{say['id']}.toml", text)]

    def nginx(self, say, log, tuned):
        temp = ["client_body", "proxy"]
        temp += [m for m in ["fastcgi", "uwsgi", "scgi"] if f"--without-http_{m}_module" not in self.nginx_flags]
        text = NGINX.format(
            **say,
            user="user root;" if os.getuid() == 0 else "",
            temp=" ".join(f"{m}_temp_path {self.dir}/{say['id']}-{m};" for m in temp),
            log=f"{log} combined buffer=64k flush=1s" if log else "off",
            tuned=NGINX_TUNED if tuned else "",
        )
        return ["nginx", "-p", self.dir, "-c", self.write(f"{say['id']}.conf", text)]

    def haproxy(self, say, log, tuned):
        text = HAPROXY.format(
            **say,
            tuned=HAPROXY_TUNED if tuned else "",
            log="log stdout len 4096 format raw local0 info" if log else "",
            log_here="option httplog\n  log global" if log else "",
        )
        return ["haproxy", "-db", "-f", self.write(f"{say['id']}.cfg", text)]

    def relay(self, say, _log, _tuned):
        return [self.dir / "relay", say["port"], say["origin"]]

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path

    def start(self, id, cores, port, command, out=None):
        """Starts a process on these cores and waits until it listens. `out`: for what it says, to append to."""
        out = out or self.dir / f"{id}.out"
        with open(out, "ab") as said:
            command = ["taskset", "-c", str(cores), *map(str, command)]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        self.children.append(child)
        end = time.monotonic() + 10
        while time.monotonic() < end and child.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return child
            time.sleep(0.02)
        said = "".join(Path(f).read_text() for f in [out, *glob.glob(f"{self.dir}/{id}.err")])
        sys.exit(f"{id} did not start (exit code {child.poll()}):\n{said}")

    def stop(self, only=None):
        """Ends these processes, or all that were started."""
        ending = self.children if only is None else only
        self.children = [child for child in self.children if child not in ending]
        for child in ending:
            child.terminate()
        for child in ending:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                for pid in reversed(family(child.pid)):
                    os.kill(pid, 9)
                child.wait()


def certificate(directory):
    """One for all of them: ECDSA P-256. Certificate, key, and both in one file."""
    cert, key, pem = (directory / f"a.{ending}" for ending in ["crt", "key", "pem"])
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *command.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    pem.write_text(cert.read_text() + key.read_text())
    return cert, key, pem


def family(pid):
    """A process and its children, the parent first."""
    found = [pid]
    for parent in found:
        for task in glob.glob(f"/proc/{parent}/task/*/children"):
            found += map(int, Path(task).read_text().split())
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def raise_limit_of_files():
    """As far as one may; children inherit it. Returns what it is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def output(*command):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def missing_packages(proxies):
    """Of the tools that a run with these proxies needs."""
    left_out = {"nginx", "haproxy"} - {name.removesuffix("-tuned") for name in proxies}
    return [package for tool, package in TOOLS.items() if tool not in left_out and not shutil.which(tool)]
