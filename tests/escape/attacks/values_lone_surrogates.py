"""Text that is not Unicode: what leaves the server must be UTF-8 and JSON all the same."""
CLASS = "values that are not JSON"
RIGHT = "N"
STATUS = ("ok", "contract_error")
STOPS = {}


def main():
    print("\udcff")
    sys.stderr.write("\ud800")
    return {"\udcff": "\ud800", "nul": "\0", "separators": "\u2028\u2029", "last": "\U0010ffff"}
