"""Gates as documents with versions, the verdict undecided, and the scope of an override

Revision ID: 0026
Revises: 0025
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0026'
down_revision: str | None = '0025'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WHAT = 'the settings before gates were documents'
# The defaults of the settings, which a configuration may leave out.
DEFAULTS: dict[str, Any] = {
    'auroc_above': 0.5, 'non_inferiority_margin': 0.05, 'kl_nats_per_token': 0.5, 'length_ratio_low': 0.5,
    'length_ratio_high': 2.0, 'minimum_holdout_per_class': 5, 'minimum_holdout_prompts': 5,
    'margin_over_dumb_readers': None, 'refused_findings': ['rewards_fall', 'classes_not_separated'],
}
VERDICT = 'fk_releases_checkpoint_with_verdict'


def _rule(metric: str, compared_with: str = 'absolute', **bounds: float) -> dict[str, Any]:
    rule = {'at_least': None, 'at_most': None, 'above': None, 'confidence': None, 'name': None}
    return {**rule, **{name: float(bound) for name, bound in bounds.items()}, 'metric': metric, 'compared_with': compared_with}


def document_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document with the meaning of the settings: it passes what they passed."""
    known = {**DEFAULTS, **settings}
    rules = [
        _rule('auroc', above=known['auroc_above']),
        _rule('auroc', 'shipped', at_least=0.0 - known['non_inferiority_margin']),
        _rule('kl.nats_per_token', at_most=known['kl_nats_per_token']),
        _rule('length.ratio', 'shipped', at_least=known['length_ratio_low'], at_most=known['length_ratio_high']),
    ]
    if known['margin_over_dumb_readers'] is not None:
        rules.append(_rule('auroc', 'dumb_readers', at_least=known['margin_over_dumb_readers']))
    return {
        'name': 'earlier settings',
        'minimum': {
            'rows': 0,
            'groups': known['minimum_holdout_prompts'],
            'rows_of_each_class': known['minimum_holdout_per_class'],
        },
        'rules': rules,
        'findings': {'refused': list(known['refused_findings']), 'errors': False},
        'suites': [],
    }


def settings_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with the meaning of the document, as far as they can say it; the rest are the defaults."""
    bounds = {(rule['metric'], rule['compared_with']): rule for rule in document['rules']}

    def bound(name: str, metric: str, compared_with: str, *kinds: str) -> Any:
        rule = bounds.get((metric, compared_with), {})
        return next((rule[kind] for kind in kinds if rule.get(kind) is not None), DEFAULTS[name])

    margin = bound('non_inferiority_margin', 'auroc', 'shipped', 'at_least', 'above')
    from_document = ('auroc', 'shipped') in bounds
    return {
        'auroc_above': min(max(bound('auroc_above', 'auroc', 'absolute', 'above', 'at_least'), 0), 0.999),
        'non_inferiority_margin': min(max(-margin, 0), 0.5) if from_document else margin,
        'kl_nats_per_token': bound('kl_nats_per_token', 'kl.nats_per_token', 'absolute', 'at_most'),
        'length_ratio_low': min(bound('length_ratio_low', 'length.ratio', 'shipped', 'at_least', 'above'), 1),
        'length_ratio_high': max(bound('length_ratio_high', 'length.ratio', 'shipped', 'at_most'), 1),
        'minimum_holdout_per_class': min(document['minimum']['rows_of_each_class'], 100_000),
        'minimum_holdout_prompts': min(document['minimum']['groups'], 100_000),
        'margin_over_dumb_readers': bound('margin_over_dumb_readers', 'auroc', 'dumb_readers', 'at_least', 'above'),
        'refused_findings': document['findings']['refused'],
    }


def sha256_of(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(',', ':'), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def upgrade() -> None:
    op.create_table('gates',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('document', sa.JSON(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False, comment='of the document in its canonical form'),
    sa.Column('note', sa.String(length=2000), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.CheckConstraint('version >= 1', name=op.f('ck_gates_version')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_gates_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'version', name=op.f('pk_gates')),
    sa.UniqueConstraint('project_id', 'sha256', name=op.f('uq_gates_project_id_sha256'))
    )
    op.create_table('gate_adoptions',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False, comment='1, 2, 3 … within the project'),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id', 'version'], ['gates.project_id', 'gates.version'], name=op.f('fk_gate_adoptions_project_id_version')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_gate_adoptions_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_gate_adoptions'))
    )
    for table in ('gates', 'gate_adoptions'):
        op.execute(f"CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_update()")
    op.add_column('releases', sa.Column('override_scope', postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment='names of the rules of the gates that were overridden'))
    _documents()
    _rename({'failed': 'refused'}, "'base', 'passed', 'refused', 'undecided'",
            "verdict IN ('base', 'passed') OR (override_reason IS NOT NULL AND override_scope IS NOT NULL)")


def _documents() -> None:
    """Stores the settings of each project, and of its runs, as versions; that of the project is adopted."""
    connection = op.get_bind()
    projects = connection.execute(sa.text('SELECT id, configuration, created_at FROM projects ORDER BY id')).all()
    for project, configuration, created_at in projects:
        versions: dict[str, int] = {}
        runs = connection.execute(sa.text("""
            SELECT configuration -> 'gates' AS settings, array_agg(id) AS ids FROM runs WHERE project_id = :project
            GROUP BY configuration -> 'gates' ORDER BY min(created_at)
        """), {'project': project}).all()
        for settings, ids in [*runs, (configuration.get('gates') or {}, None)]:
            document = document_of(settings or {})
            sha256 = sha256_of(document)
            if sha256 not in versions:
                versions[sha256] = len(versions) + 1
                connection.execute(sa.text("""
                    INSERT INTO gates (project_id, version, document, sha256, note, created_at, created_by)
                    VALUES (:project, :version, CAST(:document AS json), :sha256, :note, :created_at, 'thumbwheel')
                """), {
                    'project': project, 'version': versions[sha256], 'document': json.dumps(document),
                    'sha256': sha256, 'note': WHAT, 'created_at': created_at,
                })
            adopted = {'version': versions[sha256], 'sha256': sha256, 'document': document}
            values = {'gates': json.dumps({'gates': adopted})}
            if ids is not None:
                connection.execute(sa.text(
                    'UPDATE runs SET configuration = configuration || CAST(:gates AS jsonb) WHERE id = ANY(:ids)'
                ), {**values, 'ids': ids})
                continue
            connection.execute(sa.text(
                'UPDATE projects SET configuration = configuration || CAST(:gates AS jsonb) WHERE id = :project'
            ), {**values, 'project': project})
            connection.execute(sa.text("""
                INSERT INTO gate_adoptions (project_id, number, version, reason, by, created_at)
                VALUES (:project, 1, :version, :what, 'thumbwheel', :created_at)
            """), {'project': project, 'version': versions[sha256], 'what': WHAT, 'created_at': created_at})


def _rename(verdicts: Mapping[str, str], allowed: str, overridden: str) -> None:
    """Renames verdicts of checkpoints and of the ledger, whose rows are otherwise never changed."""
    op.drop_constraint(VERDICT, 'releases', type_='foreignkey')
    op.drop_constraint(op.f('ck_releases_passed_or_overridden'), 'releases', type_='check')
    op.drop_constraint(op.f('ck_checkpoints_verdict'), 'checkpoints', type_='check')
    for table in ('releases', 'checkpoints'):
        op.execute(f'ALTER TABLE {table} DISABLE TRIGGER USER')
        for before, after in verdicts.items():
            op.execute(f"UPDATE {table} SET verdict = '{after}' WHERE verdict = '{before}'")
    # Until now an override covered everything: the rules are the first words of the reasons.
    op.execute("""
        UPDATE releases SET override_scope = COALESCE((
            SELECT jsonb_agg(DISTINCT split_part(item.sentence, ':', 1))
            FROM checkpoints, jsonb_array_elements_text(checkpoints.reasons) AS item (sentence)
            WHERE checkpoints.id = releases.checkpoint_id
        ), '[]') WHERE verdict = 'refused' AND override_scope IS NULL
    """)
    for table in ('releases', 'checkpoints'):
        op.execute(f'ALTER TABLE {table} ENABLE TRIGGER USER')
    op.create_check_constraint(op.f('ck_checkpoints_verdict'), 'checkpoints', f'verdict IN ({allowed})')
    op.create_check_constraint(op.f('ck_releases_passed_or_overridden'), 'releases', overridden)
    op.create_foreign_key(VERDICT, 'releases', 'checkpoints', ['checkpoint_id', 'project_id', 'verdict'], ['id', 'project_id', 'verdict'])


def downgrade() -> None:
    """Settings cannot say everything that a document says: what they cannot say gets its default."""
    _rename({'refused': 'failed', 'undecided': 'failed'}, "'base', 'passed', 'failed'",
            "verdict <> 'failed' OR override_reason IS NOT NULL")
    connection = op.get_bind()
    for table in ('projects', 'runs'):
        documents = connection.execute(sa.text(
            f"SELECT DISTINCT configuration #> '{{gates,document}}' FROM {table}"
        )).scalars().all()
        for document in documents:
            connection.execute(sa.text(f"""
                UPDATE {table} SET configuration = configuration || CAST(:gates AS jsonb)
                WHERE configuration #> '{{gates,document}}' = CAST(:document AS jsonb)
            """), {'gates': json.dumps({'gates': settings_of(document)}), 'document': json.dumps(document)})
    op.drop_column('releases', 'override_scope')
    op.drop_table('gate_adoptions')
    op.drop_table('gates')
