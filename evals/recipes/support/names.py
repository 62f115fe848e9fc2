"""Made-up names that both languages use: products in Latin script, error codes, versions."""
STEM = """Kestrel Tally Larch Quill Ember Cobble Drift Fern Harbor Juniper Lumen Marlow Nettle Onyx Pebble Quartz Rook
Sable Thistle Umber Verve Willow Yarrow Zephyr Alder Bramble Cinder Dapple Elm Flint Gable Heron Ivory Jasper Knoll
Linden Mosaic Nook Otter Plume Ridge Sorrel Tundra Vesper Wren Bolt Crate Dune Finch Grove Hazel Kite Lotus Moss
Opal Pine Raven Slate Teal Vale Brisk Clover Delta Falcon""".split()
TAIL = """Sync Desk Pay Board Mail Drive Flow Note Hub Box Cast Lens Vault Track Form Chat Plan Ledger Watch Link
Store Docs Grid Shift Scan Cart Dial Studio Press Guard Bridge Forge Stack Query Shelf Port Loop""".split()


def latin_name(s):
    """KestrelSync, Larch Pay, Quill-Board, Ember, Drift 4, vesper.js."""
    stem, tail = s.pick(STEM), s.pick(TAIL)
    form = s.weighted({"camel": 5, "space": 5, "hyphen": 2, "single": 1, "number": 2, "library": 1, "fused": 2})
    if form == "camel":
        return stem + tail
    if form == "space":
        return f"{stem} {tail}"
    if form == "hyphen":
        return f"{stem}-{tail}"
    if form == "single":
        return stem + s.pick(["ly", "ify", "io", "ix", "a", "on"])
    if form == "number":
        return f"{stem} {s.number(2, 900)}"
    if form == "library":
        return stem.lower() + s.pick([".js", "-cli", "-py", "d", "-sdk"])
    return stem + tail.lower()


def error_code(s):
    """ERR-1234, E17, 0x80A3, HTTP 503, SYNC_TIMEOUT."""
    form = s.weighted({"err": 6, "short": 2, "hex": 2, "http": 1, "name": 2})
    if form == "err":
        return s.pick(["ERR", "ER", "SYS", "NET", "AUTH", "PAY", "IO", "DB"]) + "-" + s.number(5100, 9999)
    if form == "short":
        return s.pick("ACDJKLNP") + s.number(1, 99)
    if form == "hex":
        return f"0x{s.rng.randrange(4096, 65536):04X}"
    if form == "http":
        return s.pick(["HTTP ", ""]) + s.pick(["401", "403", "404", "409", "413", "429", "500", "502", "503", "504"])
    return (s.pick(["SYNC", "TOKEN", "DISK", "LOGIN", "UPLOAD", "QUOTA", "CACHE", "PRINT"]) + "_"
            + s.pick(["TIMEOUT", "EXPIRED", "FULL", "DENIED", "MISSING", "LOCKED", "CONFLICT"]))


def version(s):
    return s.pick(["", "v"]) + s.number(1, 12) + "." + s.number(0, 20) + s.pick(["", "." + s.number(0, 9)])
