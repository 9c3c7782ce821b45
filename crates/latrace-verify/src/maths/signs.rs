//! Plus-minus signs.
//!
//! Policy: with a minus-plus sign beside it, a plus-minus sign means the upper or the lower of all; several
//! without one are independent, as in `\pm\sqrt{5\pm\sqrt5}`.

use super::syntax::{Expression, Joint};

// Six independent signs.
/// The most alternatives that plus-minus signs may stand for.
const MOST_ALTERNATIVES: usize = 64;

/// Plus-minus signs written out as a list, if there are any and not too many.
pub(super) fn written_out(expression: &Expression) -> Expression {
    if !expression.any(&is_plus_minus) {
        return expression.clone();
    }
    match expression {
        Expression::List(joint, parts) => Expression::List(*joint, spread(parts)),
        Expression::Set(parts) => Expression::Set(spread(parts)),
        // Either sign is an answer.
        other => one_or_list(spread(std::slice::from_ref(other))),
    }
}

fn is_plus_minus(expression: &Expression) -> bool {
    matches!(expression, Expression::PlusMinus(..))
}

fn one_or_list(mut parts: Vec<Expression>) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { Expression::List(Joint::Or, parts) }
}

/// The alternatives of all parts; the parts themselves where those are too many.
fn spread(parts: &[Expression]) -> Vec<Expression> {
    let spread: Option<Vec<Vec<Expression>>> = parts.iter().map(alternatives).collect();
    let spread = spread.map(|spread| spread.concat()).filter(|spread| spread.len() <= MOST_ALTERNATIVES);
    spread.unwrap_or_else(|| parts.to_vec())
}

/// What an expression may mean; `None` where that is too much.
fn alternatives(expression: &Expression) -> Option<Vec<Expression>> {
    let count = expression.count(&is_plus_minus);
    // A minus-plus sign says that the signs are read together, all upper or all lower.
    let tied = expression.any(&|part| matches!(part, Expression::PlusMinus(_, true)));
    let signs = if tied { count.min(1) } else { count };
    let all = 1_usize.checked_shl(u32::try_from(signs).ok()?).filter(|all| *all <= MOST_ALTERNATIVES)?;
    Some((0..all).map(|choice| alternative(expression, choice, tied)).collect())
}

/// The alternative in which the bits of `choice`, in order, say which signs are lower.
fn alternative(expression: &Expression, choice: usize, tied: bool) -> Expression {
    let mut next = 0;
    with_signs(expression, &mut || {
        let upper = choice >> next & 1 == 0;
        // Tied signs all read the same bit of the choice.
        next += usize::from(!tied);
        upper
    })
}

/// The expression with its signs decided one by one.
fn with_signs(expression: &Expression, upper: &mut dyn FnMut() -> bool) -> Expression {
    match expression {
        Expression::PlusMinus(inner, lower) => {
            let is_plus = upper() != *lower;
            let inner = with_signs(inner, upper);
            if is_plus { inner } else { Expression::negative(inner) }
        }
        other => other.map(&mut |part| with_signs(part, upper)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_written_out_up_to_a_bound() {
        let signs = |count: u32| {
            let sign = |at: u32| Expression::plus_minus(Expression::integer(1 << at), false);
            Expression::Sum((0..count).map(sign).collect())
        };
        let count = |written: Expression| match written {
            Expression::List(Joint::Or, parts) => parts.len(),
            _ => 1,
        };
        assert_eq!(count(written_out(&signs(6))), 64);
        assert_eq!(written_out(&signs(7)), signs(7));
        // A list of signed members has one bound for all of it.
        let list = |members: usize| Expression::List(Joint::Comma, vec![signs(3); members]);
        let length = |written: &Expression| match written {
            Expression::List(_, parts) => parts.len(),
            _ => 0,
        };
        assert_eq!(length(&written_out(&list(8))), 64);
        assert_eq!(length(&written_out(&list(9))), 9);
    }
}
