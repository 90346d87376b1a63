"""``textlrp check``."""

from __future__ import annotations

from pathlib import Path

import click

from textlrp.commands.outputs import Output, check_outputs
from textlrp.commands.shared import Loading, echo_json, loading_options, read_texts, rules_file, show, writes

# As in textlrp.check.audit, which needs torch.
_RULES = ("attnlrp", "cp-lrp", "difference")


@click.command()
@click.argument("model", required=False)
@click.option("--text", "texts", multiple=True, help="A text to try it on; may be given several times.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read texts from a UTF-8 file, one a line.")
@loading_options
@click.option(
    "--rules",
    multiple=True,
    default=_RULES,
    show_default=True,
    help="Rules as explain takes them; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, and nothing else.")
@writes("-o", "--output")
@click.pass_context
def check(
    context: click.Context,
    model: str | None,
    texts: tuple[str, ...],
    file: Path | None,
    loading: Loading,
    rules: tuple[str, ...],
    as_json: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Check that MODEL, a folder or a hub name, can be explained; without MODEL, the built-in classifier.

    Some texts are explained. The output lists the operations with their rules, the ledger, the cost, and the checks
    of everything that textlrp promises. The exit status is 1 if a check fails. Please add the output to an issue
    report.
    """
    from textlrp.rules import Rules
    from textlrp.text.encoding import check_text

    chosen = [Rules.parse(name) for name in rules]
    documents = read_texts(texts, file)
    for document in documents or ():
        check_text(document)
    written = [Output("-o", output)] if output is not None else []
    check_outputs(written, [file, *map(rules_file, rules), model], force=force)
    explainer = loading.explainer(model, "MODEL")
    from textlrp.check.audit import audit
    from textlrp.check.table import AuditView

    result = audit(explainer, documents, chosen)
    if as_json:
        echo_json(result.to_json(output), output)
    else:
        show(AuditView(result), output)
    context.exit(0 if result.passed else 1)
