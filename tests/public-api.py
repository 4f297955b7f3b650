#!/usr/bin/env python3
"""Checks the types of other crates that reverb-core's public API shows against tests/public-api.txt.

Reads the JSON that rustdoc writes: `./check api` makes it and runs this. A type that is shown and not listed
fails, and so does one that is listed and not shown any more.
"""

import json
import sys

OURS = 0
STANDARD = {"core", "alloc", "std"}


def names(node, found):
    """Every path that a signature names, with its place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("resolved_path", "trait") and isinstance(value, dict) and "id" in value:
                found.add(value["id"])
            names(value, found)
    elif isinstance(node, list):
        for value in node:
            names(value, found)


def signature(inner):
    """What of an item is its signature: not its children, which are looked at themselves."""
    (kind, body), = inner.items()
    if kind in ("struct", "enum"):
        return {"generics": body["generics"]}
    if kind == "trait":
        return {"generics": body["generics"], "bounds": body["bounds"]}
    if kind == "impl":
        return {"trait": body["trait"], "for": body["for"], "generics": body["generics"]}
    if kind in ("module", "use"):
        return {}
    return body


def children(inner, index):
    (kind, body), = inner.items()
    if kind == "module":
        yield from body["items"]
    elif kind == "use" and body["id"] is not None and str(body["id"]) in index:
        yield body["id"]
    elif kind == "struct":
        shape = body["kind"]
        if isinstance(shape, dict):
            fields = shape.get("plain", {}).get("fields", []) or shape.get("tuple", [])
            yield from (field for field in fields if field is not None)
        yield from body["impls"]
    elif kind == "enum":
        yield from body["variants"]
        yield from body["impls"]
    elif kind == "variant":
        shape = body["kind"]
        if isinstance(shape, dict):
            fields = shape.get("struct", {}).get("fields", []) or shape.get("tuple", [])
            yield from (field for field in fields if field is not None)
    elif kind in ("trait", "impl"):
        yield from body["items"]


def is_ours(item):
    """Implementations that the compiler or another crate gives to every type say nothing about us."""
    impl = item["inner"].get("impl")
    return impl is None or not (impl["is_synthetic"] or impl["blanket_impl"])


def shown(api):
    """The foreign types that the API shows, each with one item that shows it."""
    index, paths, crates = api["index"], api["paths"], api["external_crates"]
    seen, foreign, todo = set(), {}, [(api["root"], "reverb_core")]
    while todo:
        number, where = todo.pop()
        item = index.get(str(number))
        if item is None or number in seen or not is_ours(item):
            continue
        seen.add(number)
        where = f"{where}::{item['name']}" if item["name"] and number != api["root"] else where
        used = set()
        names(signature(item["inner"]), used)
        for used_id in used:
            path = paths.get(str(used_id))
            if path is None or path["crate_id"] == OURS:
                continue
            crate = crates[str(path["crate_id"])]["name"]
            if crate not in STANDARD:
                foreign.setdefault("::".join(path["path"]), where)
        todo.extend((child, where) for child in children(item["inner"], index))
    return foreign


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        foreign = shown(json.load(file))
    with open(sys.argv[2], encoding="utf-8") as file:
        lines = [line.split("#")[0].strip() for line in file]
    allowed = {line for line in lines if line}
    if not foreign:
        sys.exit("public-api: no foreign type was found at all: the format of rustdoc's JSON has changed")
    for path in sorted(set(foreign) - allowed):
        print(f"shown, but not listed: {path}, by {foreign[path]}")
    for path in sorted(allowed - set(foreign)):
        print(f"listed, but not shown: {path}")
    if set(foreign) != allowed:
        sys.exit("public-api: change the API, or tests/public-api.txt with a reason")
    print(f"{len(foreign)} foreign types are shown, and listed")


if __name__ == "__main__":
    main()
