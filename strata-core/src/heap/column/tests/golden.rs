//! Blocks written by format version 1, one for each encoding. They must be readable for ever; and as long as neither the
//! writer's choices nor the compressors change, the writer still makes these very bytes.

use super::*;

fn text(at: i32) -> Datum {
    match at % 6 {
        0 => Datum::Null,
        _ => Datum::Text(format!("request {} of account {} is final", at * 7919 % 1009, at * 31)),
    }
}

fn check_golden(golden: &[u8], encoding: Encoding, column_type: ColumnType, values: Vec<Datum>) {
    let column = column(0, &column_type);
    let slots: Vec<u32> = (0..values.len() as u32).collect();
    let block = open(golden).expect("opens");
    assert_eq!(block.column(column.id).map(|meta| meta.encoding), Some(encoding));
    check(&block, &column, &slots, &values, "golden block");
    let columns = [(column.id, column_type.clone(), array(&column_type, &values))];
    let payload =
        encode_block(&columns, None, slots.len() as u32, &EncodeOptions::default()).expect("encodes");
    assert_eq!(payload, golden, "the writer makes other bytes of {encoding:?}");
}

#[test]
fn constant() {
    let values = (0..10).map(|at| if at == 3 { Datum::Null } else { Datum::Bool(true) }).collect();
    check_golden(include_bytes!("golden/constant.bin"), Encoding::Constant, ColumnType::Bool, values);
}

#[test]
fn plain() {
    let values = (0..10).map(|at| Datum::Float64(f64::from(at) / 3.0)).collect();
    check_golden(include_bytes!("golden/plain.bin"), Encoding::Plain, ColumnType::Float64, values);
}

#[test]
fn bit_packed() {
    let values = (0..1100).map(|at| Datum::Decimal(i128::from(at * 41 % 997) * 100)).collect();
    let column_type = ColumnType::Decimal { precision: 12, scale: 2 };
    check_golden(include_bytes!("golden/bit-packed.bin"), Encoding::BitPacked, column_type, values);
}

#[test]
fn dictionary() {
    let names = ["AIR", "MAIL", "REG AIR", "TRUCK"];
    let values = (0..200).map(|at| Datum::Text(names[at * at % 7 % 4].to_owned())).collect();
    check_golden(include_bytes!("golden/dictionary.bin"), Encoding::Dictionary, ColumnType::Text, values);
}

#[test]
fn alp() {
    let values = (0..1500).map(|at| match at % 500 {
        3 => Datum::Float64(f64::NEG_INFINITY),
        4 => Datum::Null,
        _ => Datum::Float64(f64::from(at * 7919 % 5003) / 100.0),
    });
    check_golden(include_bytes!("golden/alp.bin"), Encoding::Alp, ColumnType::Float64, values.collect());
}

#[test]
fn run_end() {
    let values =
        (0..1500).map(|at| if at == 9 { Datum::Null } else { Datum::Date(19_000 + at / 37) }).collect();
    check_golden(include_bytes!("golden/run-end.bin"), Encoding::RunEnd, ColumnType::Date, values);
}

#[test]
fn run_end_dictionary() {
    let names = ["open", "paid", "shipped", "returned"];
    let values = (0..1500_usize).map(|at| Datum::Text(names[at / 310 % 4].to_owned())).collect();
    let golden = include_bytes!("golden/run-end-dictionary.bin");
    check_golden(golden, Encoding::RunEndDictionary, ColumnType::Text, values);
}

#[test]
fn fsst() {
    let values = (0..200).map(text).collect();
    check_golden(include_bytes!("golden/fsst.bin"), Encoding::Fsst, ColumnType::Text, values);
}
