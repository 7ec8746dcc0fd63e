"""The network domain: probe loopback services and read hosts files, access logs, socket listings and address lists.

Services are the fixture's, on 127.0.0.1, reached by bash's own /dev/tcp: no other client is on a minimal system, and
nothing outside the sandbox can be reached.
"""

from __future__ import annotations

from itertools import product
from random import Random

from frontier_core.records import Record
from generators.procedural.shell.base import (
    FOLDERS,
    ITEMS,
    WORDS,
    ShellGenerator,
    Task,
    lines,
    paths,
    say,
    stem,
    task,
)

HOSTS = ("web", "db", "mail", "cache", "files", "git", "print", "auth", "proxy", "build", "wiki", "shop")
PAGES = ("/status", "/health", "/version", "/info", "/about", "/ready")
STATUSES = (200, 200, 301, 403, 404, 500, 502, 503)


def _ports(rng: Random, count: int) -> list[int]:
    return rng.sample(range(4000, 9990), count)


def _addresses(rng: Random, count: int) -> list[str]:
    """Distinct private addresses of one network, plain digits throughout."""
    net = f"{rng.choice(('10.0', '10.20', '192.168'))}.{rng.randint(0, 99)}"
    return [f"{net}.{last}" for last in rng.sample(range(2, 250), count)]


def _hosts(rng: Random, count: int) -> dict[str, str]:
    """Host names -> addresses."""
    names = [f"{name}{rng.randint(1, 20)}" for name in rng.sample(HOSTS, count)]
    return dict(zip(names, _addresses(rng, count), strict=True))


def _log_line(address: str, path: str, status: int, size: int) -> str:
    return f'{address} - - [10/Jan/2024:10:00:00 +0000] "GET {path} HTTP/1.1" {status} {size}'


def _requests(rng: Random, counts: dict[str, int]) -> list[tuple[str, str, int, int]]:
    """Requests (address, path, status, bytes), `counts` of them per address; sizes hold no status by chance."""
    rows = [
        (address, f"/{rng.choice(WORDS)}", rng.choice(STATUSES), rng.randint(1000, 9000))
        for address, count in counts.items()
        for _ in range(count)
    ]
    rng.shuffle(rows)
    return rows


def _access_log(rows: list[tuple[str, str, int, int]]) -> str:
    return lines(_log_line(*row) for row in rows)


def _services(*ports: int) -> Record:
    return {"services": [{"port": port, "pages": {"/": "ok\n"}} for port in ports]}


def _fetch(port: int, page: str) -> str:
    """The command group that prints a page's body: head and empty line cut off."""
    return f"{{ printf 'GET {page} HTTP/1.0\\r\\n\\r\\n' >&3; sed '1,/^\\r$/d' <&3; }} 3<>/dev/tcp/127.0.0.1/{port}"


def probe_port(rng: Random) -> Task:
    """Whether three ports of this machine accept connections, a word each."""
    ports, path = _ports(rng, 3), f"{rng.choice(FOLDERS)}_{stem(rng)}.txt"
    # Never all alike: no one word, printed without looking, is right.
    is_open = rng.choice([state for state in product((True, False), repeat=3) if len(set(state)) == 2])
    yes, no = rng.choice((("open", "closed"), ("up", "down"), ("yes", "no")))
    a, b, c = ports
    instruction = say(
        rng,
        f"Check whether ports {a}, {b} and {c} on 127.0.0.1 accept connections: {yes} or {no} for each, in {path}.",
        f"Is anything listening on local ports {a}, {b}, {c}? Put {yes} or {no} for each into {path}, a line each.",
    )
    probe = f"if (: < /dev/tcp/127.0.0.1/$p) 2> /dev/null; then echo {yes}; else echo {no}; fi"
    command = f"for p in {a} {b} {c}; do {probe}; done > {path}"
    fixture = _services(*(port for port, is_up in zip(ports, is_open, strict=True) if is_up))
    return task(instruction, [command], {}, {path: lines(yes if up else no for up in is_open)}, fixture=fixture)


def look_up_host(rng: Random) -> Task:
    """The address of a name in a hosts file; longer names that begin alike are others."""
    path, hosts = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _hosts(rng, 5)
    name, address = rng.choice(list(hosts.items()))
    text = lines(
        [
            "127.0.0.1 localhost",
            f"172.16.0.1 {name}-old",
            *(f"{a} {n}" for n, a in hosts.items()),
            f"172.16.0.2 my-{name}",
        ]
    )
    instruction = say(
        rng,
        f"Print the address of the host {name} from the hosts file {path}.",
        f"What address does {path}, a hosts file, give for {name}?",
    )
    return task(instruction, [f"awk '$2 == \"{name}\" {{print $1}}' {path}"], {path: text}, stdout=f"{address}\n")


def add_host(rng: Random) -> Task:
    """A line more at the end of a hosts file."""
    path, hosts = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt", _hosts(rng, 4)
    *known, (name, address) = hosts.items()
    before = {path: lines(f"{a} {n}" for n, a in known)}
    instruction = say(
        rng,
        f"Add the host {name} with address {address} at the end of the hosts file {path}, as 'address name'.",
        f"Append the line '{address} {name}' to {path}.",
    )
    return task(
        instruction, [f"echo '{address} {name}' >> {path}"], before, {path: f"{before[path]}{address} {name}\n"}
    )


def count_status(rng: Random) -> Task:
    """How many requests of an access log ended in a status."""
    path, addresses = f"{rng.choice(FOLDERS)}/{stem(rng)}.log", _addresses(rng, 4)
    rows, status = _requests(rng, dict.fromkeys(addresses, rng.randint(2, 6))), rng.choice((404, 500, 403, 503))
    rows += [(addresses[0], f"/{status}", 200, 1234), (addresses[1], "/end", status, 200)]
    instruction = say(
        rng,
        f"How many requests in the access log {path} were answered with status {status}? Print the number.",
        f"Count the responses with status {status} (field 9) in the web log {path}; only the number.",
    )
    count = sum(1 for row in rows if row[2] == status)
    while any(sum(1 for row in rows if row[2] == other) == count for other in STATUSES if other != status):
        rows.append((addresses[2], "/more", status, 4321))  # no other status comes as often
        count += 1
    return task(instruction, [f"awk '$9 == {status}' {path} | wc -l"], {path: _access_log(rows)}, stdout=f"{count}\n")


def listening_ports(rng: Random) -> Task:
    """Ports in state LISTEN of a saved socket listing, by number."""
    path = f"{rng.choice(FOLDERS)}/{stem(rng)}.txt"
    # Three figures and five: by text they would come the other way round.
    ports = [rng.randint(600, 999), rng.randint(10_000, 59_999), *_ports(rng, 5)]
    states = ["LISTEN", "LISTEN", "ESTAB", "LISTEN", "TIME-WAIT", "LISTEN", "ESTAB"]
    sockets = list(zip(states, ports, strict=True))
    rng.shuffle(sockets)
    rows = [f"{state} 0 128 127.0.0.1:{port} 0.0.0.0:*" for state, port in sockets]
    listening = sorted(port for state, port in sockets if state == "LISTEN")
    instruction = say(
        rng,
        f"From the saved ss listing {path} print the local ports in state LISTEN, lowest first.",
        f"Which ports (after the colon in column 4) are in state LISTEN in {path}? One per line, rising.",
    )
    command = f'awk \'$1 == "LISTEN" {{sub(/.*:/, "", $4); print $4}}\' {path} | sort -n'
    text = lines(["State Recv-Q Send-Q Local Peer", *rows])
    return task(instruction, [command], {path: text}, stdout=lines(listening))


def fetch_page(rng: Random) -> Task:
    """The body of a page of a local service into a file."""
    (port, other), (page, wrong) = _ports(rng, 2), rng.sample(PAGES, 2)
    path = f"{stem(rng)}.txt"
    body = f"{rng.choice(ITEMS)} {rng.randint(1, 999)}\n{rng.choice(WORDS)}\n"
    instruction = say(
        rng,
        f"Save the body of http://127.0.0.1:{port}{page} in {path}.",
        f"Fetch {page} from the web service on local port {port} and store just the body as {path}.",
    )
    services = [
        {"port": port, "pages": {page: body, wrong: "wrong page\n"}},
        {"port": other, "pages": {page: "wrong port\n"}},
    ]
    return task(instruction, [f"{_fetch(port, page)} > {path}"], {}, {path: body}, fixture={"services": services})


def scan_ports(rng: Random) -> Task:
    """Which ports of a range are open."""
    low = rng.randrange(4010, 9900, 10)
    high = low + rng.randint(5, 9)
    # Both ends are open, and so are their neighbours outside: any other range gives another list.
    opened = sorted([low - 1, low, *rng.sample(range(low + 1, high), rng.randint(0, 3)), high, high + 1])
    path = f"{stem(rng)}.txt"
    instruction = say(
        rng,
        f"Write the ports from {low} to {high} that are open on 127.0.0.1 to {path}, one per line, lowest first.",
        f"Which local ports between {low} and {high}, both included, accept connections? List them rising in {path}.",
    )
    command = (
        f"for p in {{{low}..{high}}}; do if (: < /dev/tcp/127.0.0.1/$p) 2> /dev/null; then echo $p; fi; done > {path}"
    )
    return task(
        instruction, [command], {}, {path: lines(p for p in opened if low <= p <= high)}, fixture=_services(*opened)
    )


def busiest_client(rng: Random) -> Task:
    """The addresses with most requests, most first; no two counts are equal."""
    path, addresses, wanted = f"{rng.choice(FOLDERS)}/{stem(rng)}.log", _addresses(rng, 5), rng.randint(2, 3)
    rows = _requests(rng, {address: times for times, address in enumerate(addresses, 1)})
    instruction = say(
        rng,
        f"Print the {wanted} addresses with the most requests in the access log {path}, busiest first.",
        f"Which {wanted} clients (first field) appear most often in {path}? Addresses only, most frequent first.",
    )
    command = f"cut -d' ' -f1 {path} | sort | uniq -c | sort -rn | head -n {wanted} | awk '{{print $2}}'"
    return task(instruction, [command], {path: _access_log(rows)}, stdout=lines(addresses[::-1][:wanted]))


def retire_host(rng: Random) -> Task:
    """A host's line out of a hosts file and into another."""
    live, old = paths(rng, "txt", "txt")
    hosts = _hosts(rng, 5)
    name, address = rng.choice(list(hosts.items()))
    rows = [*(f"{a} {n}" for n, a in hosts.items()), f"172.16.9.9 {name}-2"]
    before = {live: lines(rows), old: "172.16.0.9 first\n"}
    after = {
        live: lines(row for row in rows if row != f"{address} {name}"),
        old: f"172.16.0.9 first\n{address} {name}\n",
    }
    instruction = say(
        rng,
        f"Move the line of the host {name} from {live} to the end of {old}.",
        f"Host {name} is retired: append its line of {live} to {old} and delete it from the former.",
    )
    commands = [
        f"grep ' {name}$' {live} >> {old}",
        f"sed -i '/ {name}$/d' {live}",
    ]
    return task(instruction, commands, before, after)


def check_services(rng: Random) -> Task:
    """The state of each service of a list, in its order."""
    source, target = paths(rng, "txt", "txt")
    names, ports = rng.sample(HOSTS, 4), _ports(rng, 4)
    is_up = [True, False, True, rng.random() < 0.5]
    rng.shuffle(is_up)
    before = {source: lines(f"{name} {port}" for name, port in zip(names, ports, strict=True))}
    report = lines(f"{name} {'up' if up else 'down'}" for name, up in zip(names, is_up, strict=True))
    instruction = say(
        rng,
        f"For each 'name port' line of {source} write 'name up' or 'name "
        f"down' to {target} by whether 127.0.0.1 accepts that port.",
        f"{source} lists 'name port'; save 'name up' or 'name down' for every local service, same order, in {target}.",
    )
    command = (
        'while read -r n p; do if (: < /dev/tcp/127.0.0.1/$p) 2> /dev/null; then echo "$n up"; '
        f'else echo "$n down"; fi; done < {source} > {target}'
    )
    fixture = _services(*(port for port, up in zip(ports, is_up, strict=True) if up))
    return task(instruction, [command], before, before | {target: report}, fixture=fixture)


def failing_clients(rng: Random) -> Task:
    """Addresses that met a status of 500 or more, each once, sorted."""
    source, target = paths(rng, "log", "txt")
    addresses = _addresses(rng, 6)
    rows = _requests(rng, dict.fromkeys(addresses[:4], 3))
    rows += [(addresses[4], "/500", 499, 5000), (addresses[5], "/edge", 500, 1000), (addresses[5], "/edge", 500, 1001)]
    before = {source: _access_log(rows)}
    failing = sorted({address for address, _, status, _ in rows if status >= 500})
    instruction = say(
        rng,
        f"Save the distinct client addresses that got a status of 500 or higher in {source}, sorted, as {target}.",
        "Which addresses met server errors (status, field 9, at "
        f"least 500) in {source}? Each once, sorted, into {target}.",
    )
    command = f"awk '$9 >= 500 {{print $1}}' {source} | sort -u > {target}"
    return task(instruction, [command], before, before | {target: lines(failing)})


def traffic_per_client(rng: Random) -> Task:
    """Bytes per address, most first; sums never tie."""
    source, target = paths(rng, "log", "txt")
    addresses = _addresses(rng, 4)
    rows = _requests(rng, {address: rng.randint(1, 4) for address in addresses})
    totals: dict[str, int] = {}
    for address, _, _, size in rows:
        totals[address] = totals.get(address, 0) + size
    while len(set(totals.values())) < len(totals):
        rows.append((addresses[0], "/tie", 200, 1))
        totals[addresses[0]] += 1
    ranked = sorted(totals, key=lambda address: -totals[address])
    before = {source: _access_log(rows)}
    instruction = say(
        rng,
        f"Sum the bytes (last field) per client (first field) of {source}; "
        f"save 'address bytes' lines, largest first, in {target}.",
        f"Write to {target} how many bytes (field 10) each address fetched in {source}: 'address bytes', most first.",
    )
    command = f"awk '{{b[$1] += $10}} END {{for (a in b) print a, b[a]}}' {source} | sort -k2,2nr > {target}"
    after = before | {target: lines(f"{address} {totals[address]}" for address in ranked)}
    return task(instruction, [command], before, after)


def inside_network(rng: Random) -> Task:
    """Addresses of a list inside a /24, in the list's order."""
    source, target = paths(rng, "txt", "txt")
    second, third = rng.randint(1, 2), rng.randint(1, 9)
    net = f"10.{second}.{third}"
    rows = [f"{net}.{last}" for last in rng.sample(range(1, 254), rng.randint(3, 6))]
    # The last one is what an unescaped dot of the pattern would let in.
    decoys = [
        f"{net}{rng.randint(1, 9)}.7",
        f"1{net}.5",
        f"192.168.{third}.9",
        f"10.{second}1{third}.7.{rng.randint(1, 99)}",
    ]
    everything = rows + decoys
    rng.shuffle(everything)
    inside = [row for row in everything if row.rpartition(".")[0] == net]
    before = {source: lines(everything)}
    instruction = say(
        rng,
        f"Copy the addresses of {source} that lie in {net}.0/24 to {target}, in the same order, and print how many.",
        f"Which addresses in {source} belong to {net}.0/24? Save "
        f"them in that order in {target} and print their number.",
    )
    pattern = net.replace(".", "\\.")
    commands = [f"grep '^{pattern}\\.' {source} > {target}", f"wc -l < {target}"]
    after = before | {target: lines(inside)}
    return task(instruction, commands, before, after, stdout=f"{len(inside)}\n")


def compare_version(rng: Random) -> Task:
    """What a file and a service say, a line each, and how many different lines that makes."""
    (port, other), page = _ports(rng, 2), rng.choice(PAGES)
    source, target = paths(rng, "txt", "txt")
    wanted = f"{rng.randint(1, 9)}.{rng.randint(0, 30)}"
    is_same = rng.random() < 0.5
    served = wanted if is_same else f"{wanted}.{rng.randint(1, 9)}"
    before = {source: f"{wanted}\n"}
    instruction = say(
        rng,
        f"Write to {target} the line of {source}, the body of {page} "
        f"on local port {port}, and how many distinct lines these are.",
        f"Put {source}, then http://127.0.0.1:{port}{page} into {target}, "
        "a line each, then the number of different lines so far.",
    )
    commands = [f"cat {source} > {target}", f"{_fetch(port, page)} >> {target}", f"uniq {target} | wc -l >> {target}"]
    elsewhere = f"{wanted}.99\n" if is_same else f"{wanted}\n"
    services = [
        {"port": port, "pages": {page: f"{served}\n"}},
        {"port": other, "pages": {page: elsewhere}},
    ]
    after = before | {target: lines([wanted, served, 1 if is_same else 2])}
    return task(instruction, commands, before, after, fixture={"services": services})


GENERATOR = ShellGenerator(
    "network",
    {
        1: (probe_port, look_up_host, add_host, count_status, listening_ports),
        2: (fetch_page, scan_ports, busiest_client, retire_host),
        3: (check_services, failing_clients, traffic_per_client, inside_network, compare_version),
    },
)
